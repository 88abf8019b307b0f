/*
 * The yardsticks of the event channel and of the hypercall: two processes that wake each other.
 *
 *     pingpong epoll|read|seqpacket SECONDS NEAR FAR
 *
 * NEAR and FAR are the processors of the two, "-" for any.  Nobody spins; each side sleeps in
 *
 *     epoll       epoll_wait, on an edge-triggered eventfd that nobody reads: the least that a
 *                 process does that listens to several bells.  One write and one wait a side.
 *     read        read(2) of a blocking eventfd: the least at all, for one bell and no other.
 *     seqpacket   recv(2) of a blocking SOCK_SEQPACKET pair; 24 bytes go each way.
 *
 * A bell is rung with write(2).  An operation is a round trip.
 */
#define _GNU_SOURCE
#include "measured.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { BATCH = 64, MESSAGE = 24 };

struct side {
    int in, out, epoll;
};

static void listen_to(struct side *side)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    side->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (side->epoll < 0 || epoll_ctl(side->epoll, EPOLL_CTL_ADD, side->in, &event) < 0)
        die("epoll");
}

static void ring(const struct side *side)
{
    uint64_t one = 1;

    if (write(side->out, &one, sizeof(one)) != sizeof(one))
        die("write eventfd");
}

static void await_epoll(const struct side *side)
{
    struct epoll_event event;

    while (epoll_wait(side->epoll, &event, 1, -1) != 1)
        if (errno != EINTR)
            die("epoll_wait");
}

static void await_read(const struct side *side)
{
    uint64_t count;

    if (read(side->in, &count, sizeof(count)) != sizeof(count))
        die("read eventfd");
}

static void say(const struct side *side)
{
    static const char message[MESSAGE];

    if (send(side->out, message, sizeof(message), 0) != MESSAGE)
        die("send");
}

static void hear(const struct side *side)
{
    char message[4096];

    if (recv(side->in, message, sizeof(message), 0) != MESSAGE)
        die("recv");
}

int main(int argc, char **argv)
{
    void (*tell)(const struct side *) = ring, (*await)(const struct side *) = await_read;
    struct side near = {0}, far = {0};
    struct spent begin;
    int64_t deadline;
    double count = 0;
    int pair[2];
    pid_t peer;

    if (argc != 5) {
        fprintf(stderr, "usage: %s epoll|read|seqpacket SECONDS NEAR FAR\n", argv[0]);
        return 2;
    }
    if (strcmp(argv[1], "seqpacket") == 0) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
            die("socketpair");
        near.in = near.out = pair[0];
        far.in = far.out = pair[1];
        tell = say;
        await = hear;
    } else {
        near.in = far.out = eventfd(0, EFD_CLOEXEC);
        near.out = far.in = eventfd(0, EFD_CLOEXEC);
        if (near.in < 0 || near.out < 0)
            die("eventfd");
        if (strcmp(argv[1], "epoll") == 0) {
            listen_to(&near);
            listen_to(&far);
            await = await_epoll;
        }
    }
    pin(argv[3]);
    peer = fork_peer(argv[4]);
    if (!peer)
        for (;;) {
            await(&far);
            tell(&far);
        }
    begin = used_by(RUSAGE_SELF);
    deadline = nanoseconds() + (int64_t)(atof(argv[2]) * 1e9);
    do {
        for (int turn = 0; turn < BATCH; turn++) {
            tell(&near);
            await(&near);
        }
        count += BATCH;
    } while (nanoseconds() < deadline);
    report(peer, begin, count);
    return 0;
}
