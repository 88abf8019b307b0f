/*
 * What both halves of blkring.c have: the ring and its slots in Xen's layout, the data pages, and how
 * each waits for the other.
 */
#ifndef BENCHMARKS_BLKRING_SHARED_H
#define BENCHMARKS_BLKRING_SHARED_H

#include "measured.h"

#include <sys/eventfd.h>

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

#endif
