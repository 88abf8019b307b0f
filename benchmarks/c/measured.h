/*
 * What the programs of this folder share: where they run, and how they account for themselves.
 *
 * Each prints lines of "name value" on standard output, which benchmarks/programs.py reads:
 * seconds, processor time and sleeps *per operation*, the last two of all processes together.  A
 * sleep is a voluntary context switch as the kernel counts it (getrusage(2)): a process that only
 * yields its processor has not slept.
 */
#ifndef BENCHMARKS_MEASURED_H
#define BENCHMARKS_MEASURED_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

struct spent {
    double seconds, cpu;
    long sleeps;
};

static void UNUSED die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t UNUSED nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Stay on processor `cpu`, a number; "-" is wherever the kernel likes. */
static void UNUSED pin(const char *cpu)
{
    cpu_set_t set;

    if (strcmp(cpu, "-") == 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)atoi(cpu), &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        die("sched_setaffinity");
}

/* Fork a peer that dies with this process; 0 in the peer. */
static pid_t UNUSED fork_peer(const char *cpu)
{
    pid_t child = fork();

    if (child < 0)
        die("fork");
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(cpu);
    }
    return child;
}

/* What `who` (RUSAGE_SELF, RUSAGE_CHILDREN) has used so far. */
static struct spent UNUSED used_by(int who)
{
    struct rusage usage;

    if (getrusage(who, &usage) < 0)
        die("getrusage");
    return (struct spent){
        .seconds = (double)nanoseconds() * 1e-9,
        .cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6,
        .sleeps = usage.ru_nvcsw,
    };
}

/* End the peer, and say what `count` operations since `begin` have cost both of us. */
static void UNUSED report(pid_t peer, struct spent begin, double count)
{
    struct spent end = used_by(RUSAGE_SELF), peers;

    kill(peer, SIGKILL);
    while (waitpid(peer, NULL, 0) < 0 && errno == EINTR)
        ;
    peers = used_by(RUSAGE_CHILDREN);
    printf("seconds %.4g\n", (end.seconds - begin.seconds) / count);
    printf("cpu %.4g\n", (end.cpu - begin.cpu + peers.cpu) / count);
    printf("sleeps %.4g\n", (double)(end.sleeps - begin.sleeps + peers.sleeps) / count);
    printf("operations %.0f\n", count);
}

#endif
