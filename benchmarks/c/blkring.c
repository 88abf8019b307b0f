/*
 * The yardstick of the block rows: the blkif ring, served from an image, as a tight C program.
 *
 *     blkring IMAGE read|write BYTES random|sequential DEPTH SECONDS sleep|spin FRONT BACK
 *
 * Two processes, on processors FRONT and BACK ("-" for any), share a ring (one page of 32 slots, or
 * four of 128 where DEPTH asks for more), data pages and two eventfds, as a frontend and a backend
 * do.  DEPTH requests of BYTES each are kept on their way for SECONDS; more than 11 pages travel
 * with an indirect descriptor.  The ring code is that of hvsim._native (ring_core.h).
 *
 * What makes it hard to beat: all grants are mapped for good; the backend moves data between the
 * page cache and the shared pages with one system call a request, and the frontend copies it once,
 * from or into the buffer of whoever asked; whatever fits is issued before the one look whether the
 * backend must be woken; a frontend that sleeps asks to be woken (rsp_event) when half of what is
 * on its way has been answered, so that both halves work at once, or all of it where both share a
 * processor: the best of what was tried on either.  Nothing is checked that a peer could do wrong.
 *
 * How it waits.  sleep: in read(2) of a blocking eventfd, at once.  spin: it looks at the ring
 * first, with ring_spin and for the same time as hvsim's halves (drivers/block/disk.py, engine.py),
 * at every depth, and as seldom as they after looks in vain (looks.py); then it sleeps.
 *
 * Besides what measured.h prints: `looks` and `found` of both sides together, `notifies`, each per
 * operation, and where the last answered request was (`last`, in bytes) with the sum of its bytes
 * (`sum`), so that a test can tell whether data was moved at all.
 */
#define _GNU_SOURCE
#include "measured.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "ring_core.h"

enum {
    PAGE = 4096,
    SLOT = 112,
    SECTOR = 512,
    MAX_DEPTH = 128,
    MAX_DIRECT = 11,
    MAX_SEGMENTS = 256,
    OP_READ = 0,
    OP_WRITE = 1,
    OP_INDIRECT = 6,
    FRONT_LOOK = 30000, /* SPIN_NANOSECONDS of disk.py */
    BACK_LOOK = 20000,  /* and of engine.py */
    RAREST = 10,        /* of looks.py */
    PATTERN = 0xa5
};

struct segment {
    uint32_t gref;
    uint8_t first, last;
    uint16_t pad;
};

/* xen/io/blkif.h: blkif_request and blkif_request_indirect, x86_64 */
union request {
    struct {
        uint8_t operation, segments;
        uint16_t handle;
        uint32_t pad;
        uint64_t id, sector;
        struct segment segment[MAX_DIRECT];
    } direct;
    struct {
        uint8_t operation, inner;
        uint16_t segments;
        uint32_t pad;
        uint64_t id, sector;
        uint16_t handle, pad2;
        uint32_t frame[8];
    } indirect;
};

struct response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};

_Static_assert(sizeof(union request) == SLOT && sizeof(struct response) == 16, "xen/io/blkif.h");

struct looks {
    unsigned pause, misses;
};

/* What the backend counts; it lies in a page that both have. */
struct counted {
    uint64_t looks, found, notifies;
};

static struct ring_indices *shared;
static struct counted *counted; /* [0] the frontend's, [1] the backend's */
static uint8_t *slots, *data, *frames;
static uint32_t ring_mask;
static size_t size, pages; /* of a request */
static int spins, writes, together; /* on one processor */

static void *slot(uint32_t index)
{
    return slots + (size_t)(index & ring_mask) * SLOT;
}

static void wait_for(int event)
{
    uint64_t count;

    while (read(event, &count, sizeof(count)) < 0)
        if (errno != EINTR)
            die("read eventfd");
}

static void notify(int event, struct counted *mine)
{
    uint64_t one = 1;

    mine->notifies++;
    if (write(event, &one, sizeof(one)) != sizeof(one))
        die("write eventfd");
}

/* Whether the peer's index moves on while it is looked at, when looking has paid lately. */
static int look(struct looks *looks, const uint32_t *prod, uint32_t cons, long limit,
                struct counted *mine)
{
    if (!spins)
        return 0;
    if (looks->pause) {
        looks->pause--;
        return 0;
    }
    mine->looks++;
    if (ring_spin(prod, cons, limit)) {
        mine->found++;
        looks->misses = 0;
        return 1;
    }
    if (looks->misses < RAREST)
        looks->misses++;
    looks->pause = 1u << looks->misses;
    return 0;
}

/* --- the backend --------------------------------------------------------------------------- */

/* The pieces of memory that the segments name: neighbours are one. */
static int gather(const struct segment *segment, unsigned count, struct iovec *iov)
{
    int used = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t *base = data + (size_t)segment[i].gref * PAGE + segment[i].first * SECTOR;
        size_t length = (size_t)(segment[i].last - segment[i].first + 1) * SECTOR;

        if (used && (uint8_t *)iov[used - 1].iov_base + iov[used - 1].iov_len == base) {
            iov[used - 1].iov_len += length;
        } else {
            iov[used].iov_base = base;
            iov[used].iov_len = length;
            used++;
        }
    }
    return used;
}

static void serve(int image, uint32_t index, struct response *response)
{
    struct segment copy[MAX_SEGMENTS], *segment = copy;
    struct iovec iov[MAX_SEGMENTS];
    union request request;
    unsigned count;
    uint8_t operation;
    ssize_t done;
    off_t at;
    int pieces;

    memcpy(&request, slot(index), sizeof(request));
    operation = request.direct.operation;
    count = request.direct.segments;
    segment = request.direct.segment;
    if (operation == OP_INDIRECT) {
        operation = request.indirect.inner;
        count = request.indirect.segments;
        memcpy(copy, frames + (size_t)request.indirect.frame[0] * PAGE, count * sizeof(*copy));
        segment = copy;
    }
    at = (off_t)(request.direct.sector * SECTOR);
    pieces = gather(segment, count, iov);
    done = operation == OP_READ ? preadv(image, iov, pieces, at) : pwritev(image, iov, pieces, at);
    memset(response, 0, sizeof(*response));
    response->id = request.direct.id;
    response->operation = operation;
    response->status = done == (ssize_t)size ? 0 : -1;
}

/* Answers until it is killed. */
static void backend(int image, int wake, int peer)
{
    uint32_t cons = 0, prod = 0, seen;
    struct looks looks = {0};
    struct response response;

    for (;;) {
        seen = ring_load(&shared->req_prod);
        if (seen == cons) {
            if (look(&looks, &shared->req_prod, cons, BACK_LOOK, &counted[1]))
                continue;
            seen = ring_rearm(&shared->req_event, &shared->req_prod, cons);
            if (seen == cons) {
                wait_for(wake);
                continue;
            }
        }
        while (cons != seen) {
            serve(image, cons++, &response);
            memcpy(slot(prod), &response, sizeof(response));
            prod++;
            if (ring_publish(&shared->rsp_prod, &shared->rsp_event, prod - 1, prod))
                notify(peer, &counted[1]);
        }
    }
}

/* --- the frontend -------------------------------------------------------------------------- */

static void fill_slot(uint32_t index, uint32_t id, uint64_t sector)
{
    struct segment *segment;
    union request request;

    memset(&request, 0, sizeof(request));
    if (pages > MAX_DIRECT) {
        request.indirect.operation = OP_INDIRECT;
        request.indirect.inner = writes ? OP_WRITE : OP_READ;
        request.indirect.segments = (uint16_t)pages;
        request.indirect.frame[0] = id;
        segment = (struct segment *)(frames + (size_t)id * PAGE);
    } else {
        request.direct.operation = writes ? OP_WRITE : OP_READ;
        request.direct.segments = (uint8_t)pages;
        segment = request.direct.segment;
    }
    request.direct.id = id;
    request.direct.sector = sector;
    for (size_t page = 0; page < pages; page++) {
        memset(&segment[page], 0, sizeof(*segment));
        segment[page].gref = (uint32_t)(id * pages + page);
        segment[page].last = PAGE / SECTOR - 1;
    }
    memcpy(slot(index), &request, sizeof(request));
}

/* As ring_rearm, for so many of the `out` requests that are on their way as it is worth to wake up
 * for. */
static uint32_t rearm(uint32_t cons, uint32_t out)
{
    ring_store(&shared->rsp_event, cons + (together ? out : (out + 1) / 2));
    ring_fence();
    return ring_load(&shared->rsp_prod);
}

struct work {
    uint64_t blocks; /* of the image */
    int random;
    uint32_t depth;
    int64_t deadline;
};

/* Keeps requests on their way until the deadline; how many were answered.  `last`: where the last
 * of them was, in blocks; what it has read is left in `buffer`. */
static double frontend(const struct work *work, uint8_t *buffer, int wake, int peer, uint64_t *last)
{
    uint32_t prod = 0, cons = 0, published = 0, seen, idle[MAX_DEPTH], nr_idle = 0;
    uint64_t dice = 88172645463325252ull, next = 0, block[MAX_DEPTH];
    struct looks looks = {0};
    struct response response;
    double answered = 0;
    int going = 1;

    while (nr_idle < work->depth) {
        idle[nr_idle] = nr_idle;
        nr_idle++;
    }
    while (going || prod != cons) {
        while (nr_idle && going) {
            uint32_t id = idle[--nr_idle];

            if (work->random) {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                next = dice;
            }
            block[id] = next++ % work->blocks;
            if (writes)
                memcpy(data + id * size, buffer, size);
            fill_slot(prod++, id, block[id] * (size / SECTOR));
        }
        if (prod != published) {
            uint32_t old = published;

            published = prod;
            if (ring_publish(&shared->req_prod, &shared->req_event, old, prod))
                notify(peer, &counted[0]);
        }
        seen = ring_load(&shared->rsp_prod);
        if (seen == cons) {
            if (look(&looks, &shared->rsp_prod, cons, FRONT_LOOK, &counted[0]))
                continue;
            seen = rearm(cons, prod - cons);
            if (seen == cons) {
                wait_for(wake);
                continue;
            }
        }
        while (cons != seen) {
            uint32_t id;

            memcpy(&response, slot(cons), sizeof(response));
            cons++;
            if (response.status) {
                fprintf(stderr, "a request failed\n");
                exit(1);
            }
            id = (uint32_t)response.id;
            if (!writes) /* what a user of the disk gets is a copy of its own */
                memcpy(buffer, data + id * size, size);
            __asm__ volatile("" : : "r"(buffer) : "memory");
            *last = block[id];
            idle[nr_idle++] = id;
            answered++;
        }
        going = going && nanoseconds() < work->deadline;
    }
    return answered;
}

static uint64_t sum(const uint8_t *bytes, size_t count)
{
    uint64_t total = 0;

    while (count--)
        total += bytes[count];
    return total;
}

static uint8_t *memory(size_t bytes)
{
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (at == MAP_FAILED)
        die("mmap");
    return at;
}

static void usage(const char *name)
{
    fprintf(stderr, "usage: %s IMAGE read|write BYTES random|sequential DEPTH(1..%d) SECONDS "
                    "sleep|spin FRONT BACK\n", name, MAX_DEPTH);
    exit(2);
}

int main(int argc, char **argv)
{
    struct work work;
    struct spent begin;
    struct stat status;
    uint64_t last = 0;
    double answered;
    int image, to_back, to_front;
    size_t ring_bytes;
    uint8_t *buffer;
    pid_t peer;

    if (argc != 10)
        usage(argv[0]);
    writes = strcmp(argv[2], "write") == 0;
    size = (size_t)atol(argv[3]);
    pages = size / PAGE;
    work.random = strcmp(argv[4], "random") == 0;
    work.depth = (uint32_t)atol(argv[5]);
    spins = strcmp(argv[7], "spin") == 0;
    if (!pages || size % PAGE || pages > MAX_SEGMENTS || !work.depth || work.depth > MAX_DEPTH)
        usage(argv[0]);
    image = open(argv[1], (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (image < 0 || fstat(image, &status) < 0)
        die(argv[1]);
    work.blocks = (uint64_t)status.st_size / size;
    if (!work.blocks) {
        fprintf(stderr, "%s: less than one request\n", argv[1]);
        return 2;
    }
    ring_bytes = work.depth > ring_entries(PAGE, SLOT) ? 4 * PAGE : PAGE;
    shared = (struct ring_indices *)memory(ring_bytes);
    slots = (uint8_t *)shared + RING_HEADER_BYTES;
    ring_mask = ring_entries(ring_bytes, SLOT) - 1;
    shared->req_event = shared->rsp_event = 1;
    data = memory(work.depth * size);
    frames = memory((size_t)work.depth * PAGE);
    counted = (struct counted *)memory(PAGE);
    buffer = malloc(size);
    if (!buffer)
        die("malloc");
    memset(buffer, PATTERN, size);
    to_back = eventfd(0, EFD_CLOEXEC);
    to_front = eventfd(0, EFD_CLOEXEC);
    if (to_back < 0 || to_front < 0)
        die("eventfd");
    together = strcmp(argv[8], "-") != 0 && strcmp(argv[8], argv[9]) == 0;
    pin(argv[8]);
    peer = fork_peer(argv[9]);
    if (!peer)
        backend(image, to_back, to_front);
    begin = used_by(RUSAGE_SELF);
    work.deadline = nanoseconds() + (int64_t)(atof(argv[6]) * 1e9);
    answered = frontend(&work, buffer, to_front, to_back, &last);
    report(peer, begin, answered);
    printf("looks %.4g\n", (double)(counted[0].looks + counted[1].looks) / answered);
    printf("found %.4g\n", (double)(counted[0].found + counted[1].found) / answered);
    printf("notifies %.4g\n", (double)(counted[0].notifies + counted[1].notifies) / answered);
    printf("last %llu\nsum %llu\n", (unsigned long long)(last * size),
           (unsigned long long)sum(buffer, size));
    return 0;
}
