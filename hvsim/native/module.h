/* What the translation units of hvsim._native share. */
#ifndef HVSIM_MODULE_H
#define HVSIM_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ring_core.h"

/* One mapped grant: where it is, whether it may be written, when it was last used. */
struct grant_slot {
    uint8_t *address;
    uint64_t stamp;
    int writable;
};

/* Table of mapped grants by reference, of one device; a plain array, as references are small. */
typedef struct {
    PyObject_HEAD
    struct grant_slot *slots;
    uint32_t capacity;
    uint32_t used;
    uint64_t clock;
} GrantCache;

typedef struct {
    PyObject_HEAD
    Py_buffer buffer;
    struct ring_indices *shared;
    uint8_t *slots;
    uint32_t size;
    uint32_t request_size, response_size, slot_size;
    uint32_t prod;      /* private producer index */
    uint32_t published; /* what the peer was last shown of it */
    uint32_t cons;      /* private consumer index */
    int busy;           /* a batch runs without the GIL */
    uint64_t counters[4]; /* of serve(): reads, writes, sectors read, sectors written */
} Ring;

extern PyTypeObject ClockType, GrantCacheType, FrontRingType, BackRingType, WaitType;
extern PyObject *RingBrokenError, *RingFullError;

static inline uint8_t *ring_slot(const Ring *ring, uint32_t index)
{
    return ring->slots + (size_t)(index & (ring->size - 1)) * ring->slot_size;
}

PyObject *BackRing_serve(Ring *ring, PyObject *const *args, Py_ssize_t nargs);

#endif
