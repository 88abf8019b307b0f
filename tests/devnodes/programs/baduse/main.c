/*
 * A program that uses the nodes badly, one attempt a line: "name result", where the result is the
 * name of an errno, "signal N" of a child, or a number.
 *
 *     baduse PEER GOOD RO ALIEN PORT     see baduse.h
 *     baduse after-exec FD PORT          what it becomes itself, with a descriptor from before
 */
#define _GNU_SOURCE
#include "baduse.h"

unsigned peer, good, readonly, alien, port;

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 4) {
        after_exec(argv);
        return 0;
    }
    peer = atoi(argv[1]);
    good = atoi(argv[2]);
    readonly = atoi(argv[3]);
    alien = atoi(argv[4]);
    port = atoi(argv[5]);
    evtchn();
    gntdev();
    gntalloc();
    privcmd();
    threads();
    descriptors(argv);
    printf("done 0\n");
    return 0;
}
