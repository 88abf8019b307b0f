/*
 * The yardstick of the network rows: what a process can do at best between two TAPs.
 *
 *     tappump FD FD
 *
 * Both descriptors are TAPs with IFF_VNET_HDR, inherited and blocking; each has a thread, which
 * reads a frame (of up to 64 KiB, with its virtio_net_hdr) and writes it into the other, for ever.
 * A TAP has no call for several frames, so that is two system calls a frame.  It never spins: it
 * sleeps in read(2), with no poll in between.  What no TAP takes is dropped, as by any wire.
 */
#define _GNU_SOURCE
#include "measured.h"

#include <pthread.h>

enum { FRAME = 70000 };

static int taps[2];

static void *pump(void *from)
{
    int in = *(int *)from, out = in == taps[0] ? taps[1] : taps[0];
    char *frame = malloc(FRAME);

    if (!frame)
        die("malloc");
    for (;;) {
        ssize_t size = read(in, frame, FRAME);

        if (size > 0)
            size = write(out, frame, (size_t)size);
        if (size < 0 && (errno == EBADF || errno == EBADFD))
            die("tap");
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;

    if (argc != 3) {
        fprintf(stderr, "usage: %s FD FD\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    taps[0] = atoi(argv[1]);
    taps[1] = atoi(argv[2]);
    if (pthread_create(&thread, NULL, pump, &taps[1]) != 0)
        die("pthread_create");
    pump(&taps[0]);
    return 0;
}
