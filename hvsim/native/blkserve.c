/*
 * The batch service of blkback: plain reads and writes whose grants are mapped already, straight
 * between the image and the frontend's frames, with the GIL released.
 *
 * Anything else (other operations, unmapped grants, whatever does not pass the checks) is handed
 * to the caller as a private copy, so that every refusal is decided in one place, in Python.
 * The frontend is hostile: a request is copied once and only the copy is read, an indirect frame
 * likewise.  Layouts: xen/io/blkif.h, x86_64 ABI.
 */
#include "module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { OP_READ = 0, OP_WRITE = 1, OP_INDIRECT = 6 };
enum { RSP_OKAY = 0, RSP_ERROR = -1 };
enum {
    MAX_DIRECT = 11,
    MAX_SEGMENTS = 256,
    SEGMENTS_PER_FRAME = 512,
    SECTOR = 512,
    SECTORS_PER_PAGE = 8,
    REQUEST_BYTES = 112,
    RESPONSE_BYTES = 16
};

struct segment {
    uint32_t gref;
    uint8_t first, last;
    uint16_t pad;
};

/* A request after its only copy, in the shape both kinds share. */
struct work {
    uint64_t id, sector;
    uint32_t segments;
    uint64_t sectors; /* their sum */
    uint8_t op;       /* READ or WRITE; in an INDIRECT request the one inside */
    struct iovec iov[MAX_SEGMENTS];
};

struct target {
    GrantCache *cache;
    int fd;
    uint64_t sectors;
    int readonly;
};

static uint8_t *grant_address(GrantCache *cache, uint32_t ref, int write)
{
    struct grant_slot *slot;

    if (ref >= cache->capacity)
        return NULL;
    slot = &cache->slots[ref];
    if (!slot->address || (write && !slot->writable))
        return NULL;
    slot->stamp = ++cache->clock;
    return slot->address;
}

static void take(const uint8_t *from, size_t at, void *to, size_t size)
{
    memcpy(to, from + at, size);
}

/* Fill `work` from the private copy `raw`; 0 when the request is not one for the fast path. */
static int prepare(const struct target *target, const uint8_t *raw, struct work *work)
{
    struct segment segments[MAX_SEGMENTS];
    uint32_t index;

    work->op = raw[0];
    take(raw, 8, &work->id, 8);
    take(raw, 16, &work->sector, 8);
    if (raw[0] == OP_INDIRECT) {
        uint16_t count;

        work->op = raw[1];
        take(raw, 2, &count, 2);
        if (!count || count > MAX_SEGMENTS)
            return 0;
        work->segments = count;
        /* MAX_SEGMENTS <= SEGMENTS_PER_FRAME: all of them are in the first frame. */
        uint32_t frame;
        uint8_t *page;

        take(raw, 28, &frame, 4);
        page = grant_address(target->cache, frame, 0);
        if (!page)
            return 0;
        memcpy(segments, page, count * sizeof(struct segment));
    } else {
        work->segments = raw[1];
        if (!work->segments || work->segments > MAX_DIRECT)
            return 0;
        take(raw, 24, segments, work->segments * sizeof(struct segment));
    }
    if (work->op != OP_READ && (work->op != OP_WRITE || target->readonly))
        return 0;
    work->sectors = 0;
    for (index = 0; index < work->segments; index++) {
        const struct segment *segment = &segments[index];
        uint8_t *page;

        if (segment->first > segment->last || segment->last >= SECTORS_PER_PAGE)
            return 0;
        page = grant_address(target->cache, segment->gref, work->op == OP_READ);
        if (!page)
            return 0;
        work->iov[index].iov_base = page + (size_t)segment->first * SECTOR;
        work->iov[index].iov_len = (size_t)(segment->last - segment->first + 1) * SECTOR;
        work->sectors += (uint64_t)(segment->last - segment->first + 1);
    }
    return work->sectors <= target->sectors && work->sector <= target->sectors - work->sectors;
}

/* The whole transfer, however the kernel cuts it; a short file or an error is RSP_ERROR. */
static int16_t transfer(int fd, struct work *work)
{
    struct iovec *iov = work->iov;
    int left = (int)work->segments;
    off_t offset = (off_t)(work->sector * SECTOR);

    while (left > 0) {
        ssize_t done = work->op == OP_READ ? preadv(fd, iov, left, offset)
                                           : pwritev(fd, iov, left, offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return RSP_ERROR;
        offset += done;
        while (left > 0 && (size_t)done >= iov->iov_len) {
            done -= (ssize_t)iov->iov_len;
            iov++;
            left--;
        }
        if (left > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return RSP_OKAY;
}

/* Every byte of the response is written, padding too: nothing of ours leaks (XSA-216). */
static void answer(Ring *ring, const struct work *work, int16_t status)
{
    uint8_t response[RESPONSE_BYTES] = {0};

    memcpy(response, &work->id, 8);
    response[8] = work->op; /* of INDIRECT the one inside, as Linux answers */
    memcpy(response + 10, &status, 2);
    memcpy(ring_slot(ring, ring->prod), response, sizeof(response));
    ring->prod++;
}

PyObject *BackRing_serve(Ring *ring, PyObject *const *args, Py_ssize_t nargs)
{
    struct target target;
    struct work work;
    uint8_t raw[REQUEST_BYTES];
    uint32_t producer;
    long limit, served = 0;
    int odd = 0, broken = 0;

    if (nargs != 5 || !PyObject_TypeCheck(args[0], &GrantCacheType)) {
        PyErr_SetString(PyExc_TypeError, "serve(cache, fd, sectors, readonly, limit)");
        return NULL;
    }
    target.cache = (GrantCache *)args[0];
    target.fd = (int)PyLong_AsLong(args[1]);
    target.sectors = PyLong_AsUnsignedLongLong(args[2]);
    target.readonly = PyObject_IsTrue(args[3]);
    limit = PyLong_AsLong(args[4]);
    if (PyErr_Occurred())
        return NULL;
    if (!ring->buffer.obj || ring->busy || ring->request_size != REQUEST_BYTES ||
        ring->response_size != RESPONSE_BYTES || target.sectors > (uint64_t)INT64_MAX / SECTOR) {
        PyErr_SetString(PyExc_ValueError, "not a free block ring, or an impossible capacity");
        return NULL;
    }
    ring->busy = 1;
    Py_INCREF(target.cache);
    Py_BEGIN_ALLOW_THREADS;
    while (served < limit && !odd) {
        producer = ring_load(&ring->shared->req_prod);
        if ((uint32_t)(producer - ring->prod) > ring->size ||
            (uint32_t)(producer - ring->prod) < (uint32_t)(ring->cons - ring->prod)) {
            broken = 1;
            break;
        }
        if (producer == ring->cons)
            break;
        memcpy(raw, ring_slot(ring, ring->cons), sizeof(raw));
        ring->cons++;
        if (!prepare(&target, raw, &work)) {
            odd = 1;
            break;
        }
        answer(ring, &work, transfer(target.fd, &work));
        ring->counters[work.op == OP_WRITE]++;
        ring->counters[2 + (work.op == OP_WRITE)] += work.sectors;
        served++;
    }
    Py_END_ALLOW_THREADS;
    ring->busy = 0;
    Py_DECREF(target.cache);
    if (broken)
        return PyErr_Format(RingBrokenError,
                            "request producer index %u is out of range (ours is at %u)",
                            (unsigned)producer, (unsigned)ring->cons);
    if (odd)
        return Py_BuildValue("(ly#)", served, (char *)raw, (Py_ssize_t)sizeof(raw));
    return Py_BuildValue("(lO)", served, Py_None);
}
