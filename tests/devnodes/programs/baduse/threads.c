/* Both nodes opened, used and closed by four threads at a time, with children in between. */
#define _GNU_SOURCE
#include "baduse.h"

#include <pthread.h>
#include <xen/sys/evtchn.h>

static void *race(void *unused)
{
    long bad = 0;

    for (int round = 0; round < 40; round++) {
        int fd = node("gntdev"), events = node("evtchn");
        struct ioctl_evtchn_bind_unbound_port unbound = {peer};
        struct ioctl_evtchn_notify notify;
        uint64_t index;
        char *at;

        bad += map(fd, peer, good, &index) != 0;
        at = mmap(NULL, PAGE, RW, MAP_SHARED, fd, index);
        bad += at == MAP_FAILED || strcmp(at, "victim") != 0;
        notify.port = ioctl(events, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
        bad += ioctl(events, IOCTL_EVTCHN_NOTIFY, &notify) != 0;
        if (round % 8 == 0) {
            pid_t pid = fork();

            if (pid == 0)
                _exit(ioctl(events, IOCTL_EVTCHN_NOTIFY, &notify) != 0);
            int status;
            waitpid(pid, &status, 0);
            bad += status != 0;
        }
        close(events);
        if (round % 2)
            close(fd);
        bad += munmap(at, PAGE) != 0;
        if (round % 2 == 0)
            close(fd);
    }
    (void)unused;
    return (void *)bad;
}

void threads(void)
{
    pthread_t four[4];
    long bad = 0;

    for (int i = 0; i < 4; i++)
        pthread_create(&four[i], NULL, race, NULL);
    for (int i = 0; i < 4; i++) {
        void *mine;

        pthread_join(four[i], &mine);
        bad += (long)mine;
    }
    TRY("threads.bad", bad);
}
