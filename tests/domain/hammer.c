/*
 * Counts lost wake-ups of the ring's notification protocol.
 *
 *     hammer ROUNDS  ->  "LOST n"
 *
 * Two processes play ping-pong with the index code of hvsim/native/ring_core.h and real eventfds.
 * One of them stays awake for a while, so that it answers within nanoseconds; the other goes to
 * sleep at once.  Random pauses make "publish" here and "going to sleep" there meet.  A wake-up is lost when a process sleeps
 * though the peer has published, has decided not to ring, and no ring is on its way: all three are
 * looked at, so a slow machine loses nothing.  Built with -DRING_WITHOUT_FENCE it is the negative
 * control.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_core.h"

enum { ENOUGH = 3, SLEEP_MS = 5, SPIN = 3000 };

struct side {
    _Alignas(128) uint32_t prod;
    _Alignas(128) uint32_t event; /* what this side's reader asked for */
    _Alignas(128) uint32_t decided;
};

struct shared {
    struct side ping, pong;
    uint32_t lost;
};

static struct shared *shared;

static void pause_a_little(uint32_t *dice)
{
    *dice = *dice * 1664525u + 1013904223u;
    for (uint32_t count = *dice >> 21; count; count--)
        __asm__ volatile("" ::: "memory");
}

static void publish(struct side *out, int bell, uint32_t index)
{
    uint64_t one = 1;

    if (ring_publish(&out->prod, &out->event, index - 1, index))
        if (write(bell, &one, sizeof(one)) != sizeof(one))
            abort();
    __atomic_store_n(&out->decided, index, __ATOMIC_SEQ_CST);
}

static void await(struct side *in, int wake, uint32_t index, uint32_t *dice, int spin)
{
    struct pollfd poll_set = {.fd = wake, .events = POLLIN};
    uint64_t count;

    for (; spin; spin--)
        if (ring_load(&in->prod) == index)
            return;
    pause_a_little(dice);
    while (ring_rearm(&in->event, &in->prod, index - 1) != index) {
        int ready = poll(&poll_set, 1, SLEEP_MS);

        if (ready < 0)
            abort();
        if (__atomic_load_n(&shared->lost, __ATOMIC_SEQ_CST) >= ENOUGH)
            return; /* the peer has left */
        if (ready) {
            if (read(wake, &count, sizeof(count)) != sizeof(count))
                abort();
            if (ring_load(&in->prod) == index)
                return;
            continue;
        }
        if (__atomic_load_n(&in->decided, __ATOMIC_SEQ_CST) == index && !poll(&poll_set, 1, 0)) {
            __atomic_add_fetch(&shared->lost, 1, __ATOMIC_SEQ_CST);
            return;
        }
    }
}

static void play(struct side *in, struct side *out, int wake, int bell, long rounds, int first)
{
    uint32_t dice = first ? 1 : 2;

    for (uint32_t index = 1; index <= (uint32_t)rounds; index++) {
        if (first)
            publish(out, bell, index);
        await(in, wake, index, &dice, first ? 0 : SPIN);
        if (!first) {
            pause_a_little(&dice);
            publish(out, bell, index);
        }
        if (__atomic_load_n(&shared->lost, __ATOMIC_SEQ_CST) >= ENOUGH)
            return;
    }
}

int main(int argc, char **argv)
{
    long rounds = argc == 2 ? atol(argv[1]) : 0;
    int to_child, to_parent;
    pid_t child;

    if (rounds < 1)
        return 2;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    to_child = eventfd(0, EFD_CLOEXEC);
    to_parent = eventfd(0, EFD_CLOEXEC);
    if (shared == MAP_FAILED || to_child < 0 || to_parent < 0)
        return 2;
    shared->ping.event = shared->pong.event = 1;
    child = fork();
    if (child < 0)
        return 2;
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        play(&shared->ping, &shared->pong, to_child, to_parent, rounds, 0);
        _exit(0);
    }
    play(&shared->pong, &shared->ping, to_parent, to_child, rounds, 1);
    waitpid(child, NULL, 0);
    printf("LOST %u\n", (unsigned)shared->lost);
    return 0;
}
