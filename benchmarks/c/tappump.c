/*
 * The yardstick of the network rows: what a process can do at best between two TAPs.
 *
 *     tappump threads|epoll FD FD
 *
 * Both descriptors are inherited TAPs with IFF_VNET_HDR: a read is a frame of up to 64 KiB with its
 * virtio_net_hdr, a write sends one.  A TAP has no call for several frames, so that is two system
 * calls a frame.  What no TAP takes is dropped, as by any wire.  Nobody spins; it sleeps in
 *
 *     threads   read(2), a thread for each direction and no poll in between: the best for streams
 *     epoll     epoll_wait, one thread for both, edge-triggered: the best for a ping, whose two
 *               ways it takes with one wake-up each of a process that is warm
 */
#define _GNU_SOURCE
#include "measured.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>

enum { FRAME = 70000 };

static int taps[2];

/* Move a frame; 0 when none is there. */
static int move(int in, int out, char *frame)
{
    ssize_t size = read(in, frame, FRAME);

    if (size > 0)
        size = write(out, frame, (size_t)size);
    else if (size < 0 && errno == EAGAIN)
        return 0;
    if (size < 0 && (errno == EBADF || errno == EBADFD))
        die("tap");
    return 1;
}

static char *room(void)
{
    char *frame = malloc(FRAME);

    if (!frame)
        die("malloc");
    return frame;
}

static void *one_way(void *from)
{
    int in = *(int *)from, out = in == taps[0] ? taps[1] : taps[0];
    char *frame = room();

    for (;;)
        move(in, out, frame);
    return NULL;
}

static void both_ways(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    char *frame = room();

    for (int i = 0; i < 2; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)i};

        if (fcntl(taps[i], F_SETFL, O_RDWR | O_NONBLOCK) < 0
            || epoll_ctl(epoll, EPOLL_CTL_ADD, taps[i], &event) < 0)
            die("epoll");
    }
    for (;;) {
        struct epoll_event events[2];
        int got = epoll_wait(epoll, events, 2, -1);

        for (int i = 0; i < got; i++)
            while (move(taps[events[i].data.u32], taps[!events[i].data.u32], frame))
                ;
    }
}

int main(int argc, char **argv)
{
    pthread_t thread;

    if (argc != 4) {
        fprintf(stderr, "usage: %s threads|epoll FD FD\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    taps[0] = atoi(argv[2]);
    taps[1] = atoi(argv[3]);
    if (strcmp(argv[1], "epoll") == 0)
        both_ways();
    if (pthread_create(&thread, NULL, one_way, &taps[1]) != 0)
        die("pthread_create");
    one_way(&taps[0]);
    return 0;
}
