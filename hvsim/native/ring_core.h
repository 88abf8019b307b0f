/*
 * The index work of a Xen split-driver ring (xen/io/ring.h), free of Python.
 *
 * Shared by the extension module, by the C yardstick of the benchmarks and by the hammer program
 * of the tests.  Producer indices are private until they are published with release order; a
 * peer's index is loaded once with acquire order and checked before it is used.  The full fence
 * stands between "publish" and "look whether the peer asked to be woken" (and between "ask to be
 * woken" and "look again"): without it, store and load may pass each other and a wake-up is lost.
 */
#ifndef HVSIM_RING_CORE_H
#define HVSIM_RING_CORE_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* struct blkif_sring and its kin: four indices, 48 bytes of padding, then the slots. */
struct ring_indices {
    uint32_t req_prod, req_event;
    uint32_t rsp_prod, rsp_event;
    uint8_t pad[48];
};

#define RING_HEADER_BYTES 64

_Static_assert(sizeof(struct ring_indices) == RING_HEADER_BYTES, "xen/io/ring.h layout");

#ifndef RING_FENCE /* the hammer test puts others here, among them none */
#define RING_FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

static inline void ring_fence(void)
{
    RING_FENCE();
}

static inline uint32_t ring_load(const uint32_t *index)
{
    return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static inline void ring_store(uint32_t *index, uint32_t value)
{
    __atomic_store_n(index, value, __ATOMIC_RELEASE);
}

/* How many slots of `slot` bytes fit behind the header of a ring of `bytes`: a power of two. */
static inline uint32_t ring_entries(size_t bytes, size_t slot)
{
    size_t fit = bytes > RING_HEADER_BYTES ? (bytes - RING_HEADER_BYTES) / slot : 0;
    uint32_t size = 1;

    if (!fit)
        return 0;
    while ((size_t)size * 2 <= fit)
        size *= 2;
    return size;
}

/*
 * RING_PUSH_*_AND_CHECK_NOTIFY: publish `fresh` through `prod`; whether the peer, which asked in
 * `event` to be woken, must be.  `old` is our own note of what was published before: the shared
 * word could have been overwritten by the peer.
 */
static inline int ring_publish(uint32_t *prod, const uint32_t *event, uint32_t old, uint32_t fresh)
{
    ring_store(prod, fresh);
    ring_fence();
    return (uint32_t)(fresh - ring_load(event)) < (uint32_t)(fresh - old);
}

/*
 * RING_FINAL_CHECK_FOR_*: ask to be woken for the entry after `cons`, then look once more;
 * returns the peer's producer index, to be compared with `cons`.
 */
static inline uint32_t ring_rearm(uint32_t *event, const uint32_t *prod, uint32_t cons)
{
    ring_store(event, cons + 1);
    ring_fence();
    return ring_load(prod);
}

static inline int64_t ring_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Look for at most `nanoseconds` whether the producer index `prod` has left `cons`, without asking
 * to be woken.  A peer on another processor answers sooner than a sleeper wakes up; one that waits
 * for this very processor gets it by the yield, and need not ring.  Where the processor went to
 * somebody else meanwhile, so that the change is found late, it counts as not found: looking did
 * not pay.
 */
static inline int ring_spin(const uint32_t *prod, uint32_t cons, long nanoseconds)
{
    int64_t deadline = ring_clock() + nanoseconds, now;
    int found = 0, look;

    for (;;) {
        for (look = 0; look < 64 && !found; look++)
            found = ring_load(prod) != cons;
        now = ring_clock();
        if (found || now >= deadline)
            return found && now < deadline;
        sched_yield();
    }
}

#endif
