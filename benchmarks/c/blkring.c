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
#include "blkring_back.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

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
