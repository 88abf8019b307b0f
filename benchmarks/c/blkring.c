/*
 * The yardstick of the block rows: the blkif ring and preads as a tight C program.
 *
 *     blkring IMAGE DEPTH REQUESTS  ->  nanoseconds per request, on standard output
 *
 * Two processes share one ring page, one page of data per slot and two eventfds, as a frontend
 * and a backend do; both use the very ring code of hvsim._native and the notification rules of
 * xen/io/ring.h.  The backend preads from IMAGE straight into the shared pages.  Reads are 4 KiB,
 * at random places; DEPTH of them are kept on their way.  Nothing is checked that a peer could
 * do wrong: this is the fastest such a pair can be, not one to be trusted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "ring_core.h"

enum { PAGE = 4096, SLOT = 112, SECTOR = 512, MAX_DEPTH = 32 };

struct request {
    uint8_t operation, nr_segments;
    uint16_t handle;
    uint64_t id, sector;
    struct {
        uint32_t gref;
        uint8_t first, last;
    } seg[11];
};

struct response {
    uint64_t id;
    uint8_t operation;
    int16_t status;
};

static struct ring_indices *shared;
static uint8_t *slots, *data;
static uint32_t ring_mask;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

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

static void notify(int event)
{
    uint64_t one = 1;

    if (write(event, &one, sizeof(one)) != sizeof(one))
        die("write eventfd");
}

/* Answers until it is killed. */
static void backend(int image, int wake, int peer)
{
    uint32_t cons = 0, prod = 0, published = 0, seen;
    struct request request;
    struct response response;

    for (;;) {
        seen = ring_load(&shared->req_prod);
        if (seen == cons) {
            seen = ring_rearm(&shared->req_event, &shared->req_prod, cons);
            if (seen == cons) {
                wait_for(wake);
                continue;
            }
        }
        while (cons != seen) {
            memcpy(&request, slot(cons), sizeof(request));
            cons++;
            memset(&response, 0, sizeof(response));
            response.id = request.id;
            response.operation = request.operation;
            response.status = pread(image, data + (size_t)request.seg[0].gref * PAGE, PAGE,
                                    (off_t)(request.sector * SECTOR)) == PAGE ? 0 : -1;
            memcpy(slot(prod), &response, sizeof(response));
            prod++;
        }
        uint32_t old = published;

        published = prod;
        if (ring_publish(&shared->rsp_prod, &shared->rsp_event, old, prod))
            notify(peer);
    }
}

/* Keeps `depth` reads on their way until `total` have come back. */
static void frontend(uint64_t pages, long depth, long total, int wake, int peer)
{
    static uint8_t taken[PAGE];
    uint32_t prod = 0, cons = 0, published = 0, seen;
    long issued = 0, answered = 0;
    uint32_t free_pages[MAX_DEPTH];
    long nr_free = 0;
    uint64_t dice = 88172645463325252ull;
    struct response response;

    for (nr_free = 0; nr_free < depth; nr_free++)
        free_pages[nr_free] = (uint32_t)nr_free;
    while (answered < total) {
        while (nr_free && issued < total) {
            struct request request;
            uint32_t page = free_pages[--nr_free];

            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            memset(&request, 0, sizeof(request));
            request.nr_segments = 1;
            request.id = page;
            request.sector = dice % pages * (PAGE / SECTOR);
            request.seg[0].gref = page;
            request.seg[0].last = 7;
            memcpy(slot(prod), &request, sizeof(request));
            prod++;
            issued++;
        }
        if (prod != published) {
            uint32_t old = published;

            published = prod;
            if (ring_publish(&shared->req_prod, &shared->req_event, old, prod))
                notify(peer);
        }
        seen = ring_load(&shared->rsp_prod);
        if (seen == cons) {
            seen = ring_rearm(&shared->rsp_event, &shared->rsp_prod, cons);
            if (seen == cons) {
                wait_for(wake);
                continue;
            }
        }
        while (cons != seen) {
            memcpy(&response, slot(cons), sizeof(response));
            cons++;
            if (response.status) {
                fprintf(stderr, "a read failed\n");
                exit(1);
            }
            /* What a user of the disk gets is a copy of its own. */
            memcpy(taken, data + response.id * PAGE, PAGE);
            __asm__ volatile("" : : "r"(taken) : "memory");
            free_pages[nr_free++] = (uint32_t)response.id;
            answered++;
        }
    }
}

int main(int argc, char **argv)
{
    struct timespec begin, end;
    struct stat status;
    long depth, total;
    int image, to_back, to_front;
    uint8_t *memory;
    pid_t child;

    if (argc != 4 || (depth = atol(argv[2])) < 1 || depth > MAX_DEPTH ||
        (total = atol(argv[3])) < 1) {
        fprintf(stderr, "usage: %s IMAGE DEPTH(1..%d) REQUESTS\n", argv[0], MAX_DEPTH);
        return 2;
    }
    image = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (image < 0 || fstat(image, &status) < 0)
        die(argv[1]);
    if (status.st_size < PAGE) {
        fprintf(stderr, "%s: less than a page\n", argv[1]);
        return 2;
    }
    memory = mmap(NULL, (1 + MAX_DEPTH) * PAGE, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    shared = (struct ring_indices *)memory;
    slots = memory + RING_HEADER_BYTES;
    data = memory + PAGE;
    ring_mask = ring_entries(PAGE, SLOT) - 1;
    shared->req_event = shared->rsp_event = 1;
    to_back = eventfd(0, EFD_CLOEXEC);
    to_front = eventfd(0, EFD_CLOEXEC);
    if (to_back < 0 || to_front < 0)
        die("eventfd");
    child = fork();
    if (child < 0)
        die("fork");
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        backend(image, to_back, to_front);
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    frontend((uint64_t)status.st_size / PAGE, depth, total, to_front, to_back);
    clock_gettime(CLOCK_MONOTONIC, &end);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    printf("%.1f\n", ((double)(end.tv_sec - begin.tv_sec) * 1e9 +
                      (double)(end.tv_nsec - begin.tv_nsec)) / (double)total);
    return 0;
}
