/*
 * Counts lost wake-ups of the ring's notification protocol.
 *
 *     hammer CPU_A CPU_B ROUNDS  ->  "LOST n of ROUNDS"
 *
 * A wake-up is lost when, of two sides that act at the same moment, the producer publishes and
 * decides not to ring, and the consumer asks to be woken, looks once more and sees nothing.  Each
 * decision is a store followed by a load of what the other one stores; a processor lets the load
 * pass the store unless a fence stands between.
 *
 * So each round is that race and nothing else: two processes, one on each processor, meet at a
 * barrier, wait for a moment of random length, and run ring_publish and ring_rearm of
 * hvsim/native/ring_core.h.  What both decided is compared after the round: nobody sleeps, and a
 * slow machine loses nothing.  Before the race each side writes lines that the other one wrote
 * last, as a driver does that fills its request: the store of the index queues up behind them.
 *
 * With a fence LOST is 0, whatever the machine does.  -DFENCE_IS_LOCK takes and releases a free
 * lock instead, with the calls that CPython's threading.Lock makes, as the Python twin does.
 * -DFENCE_IS_NONE is the control; it ends at the ENOUGH-th loss.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(FENCE_IS_NONE)
#define RING_FENCE() __asm__ volatile("" ::: "memory")
#elif defined(FENCE_IS_LOCK)
static sem_t lock; /* of each process alone */
#define RING_FENCE() (sem_trywait(&lock), sem_post(&lock))
#endif
#include "ring_core.h"

enum { ENOUGH = 10, LINES = 24, SPINS = 20000 };

struct line {
    _Alignas(128) uint32_t word;
};

struct shared {
    _Alignas(128) struct ring_indices ring;
    struct line here[2];    /* which round a side has come to */
    struct line outcome[2]; /* producer: rang; consumer: saw the entry */
    struct line scratch[2][LINES];
    struct line lost, stop;
};

static struct shared *shared;

/* Both sides have come here `count` times. */
static void meet(int side, uint32_t count)
{
    int spins = 0;

    __atomic_store_n(&shared->here[side].word, count, __ATOMIC_SEQ_CST);
    while ((int32_t)(__atomic_load_n(&shared->here[!side].word, __ATOMIC_SEQ_CST) - count) < 0)
        if (++spins > SPINS) /* the other one is not on its processor now */
            sched_yield();
}

static void play(int side, uint32_t rounds)
{
    uint32_t dice = side + 1, round;

    for (round = 0; round < rounds; round++) {
        uint32_t outcome;

        dice = dice * 1664525u + 1013904223u;
        meet(side, 3 * round + 1);
        for (uint32_t count = dice >> 25; count; count--)
            __asm__ volatile("" ::: "memory");
        for (int line = 0; line < LINES; line++)
            *(volatile uint32_t *)&shared->scratch[side ^ (round & 1)][line].word = round;
        if (side == 0)
            outcome = ring_publish(&shared->ring.req_prod, &shared->ring.req_event, round,
                                   round + 1);
        else
            outcome = ring_rearm(&shared->ring.req_event, &shared->ring.req_prod, round) != round;
        __atomic_store_n(&shared->outcome[side].word, outcome, __ATOMIC_SEQ_CST);
        meet(side, 3 * round + 2);
        if (side == 0 && !shared->outcome[0].word && !shared->outcome[1].word &&
            ++shared->lost.word == ENOUGH)
            shared->stop.word = 1;
        meet(side, 3 * round + 3);
        if (shared->stop.word)
            break;
    }
    if (side == 0)
        printf("LOST %u of %u\n", (unsigned)shared->lost.word, (unsigned)round);
}

static void stay_on(const char *cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(atoi(cpu), &set);
    if (sched_setaffinity(0, sizeof(set), &set))
        exit(2);
}

int main(int argc, char **argv)
{
    int status;
    pid_t child;

    if (argc != 4)
        return 2;
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
#ifdef FENCE_IS_LOCK
    if (sem_init(&lock, 0, 1))
        return 2;
#endif
    child = fork();
    if (child < 0)
        return 2;
    if (!child)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    stay_on(argv[child ? 1 : 2]);
    play(!child, (uint32_t)atol(argv[3]));
    if (!child)
        _exit(0);
    return waitpid(child, &status, 0) == child && !status ? 0 : 1;
}
