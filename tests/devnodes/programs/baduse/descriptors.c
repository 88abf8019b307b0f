/* Descriptors in all the ways a program can come by them, and the library's own left alone. */
#define _GNU_SOURCE
#include "baduse.h"

#include <xen/sys/evtchn.h>

void descriptors(char **argv)
{
    int fd = open("/dev/xen/evtchn", O_RDWR), status; /* inherited over exec */
    struct ioctl_evtchn_bind_unbound_port unbound = {peer};
    int mine = ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
    char text[2][16];
    pid_t pid;

    TRY("open.no-node", open("/dev/xen/nothing", O_RDWR));
    TRY("open.directory", open("/dev/xen", O_RDWR));
    TRY("access.node", access("/dev/xen/gntdev", R_OK | W_OK));
    TRY("access.no-node", access("/dev/xen/nothing", F_OK));
    TRY("open.not-dom0", open("/proc/xen/xsd_port", O_RDONLY));
    pid = fork();
    if (pid == 0) {
        struct ioctl_evtchn_notify notify = {mine};

        _exit(ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify) == 0 ? 5 : 6);
    }
    waitpid(pid, &status, 0);
    TRY("fork.ioctl-in-the-child", WEXITSTATUS(status));
    snprintf(text[0], sizeof(text[0]), "%d", fd);
    snprintf(text[1], sizeof(text[1]), "%d", mine);
    pid = fork();
    if (pid == 0) {
        execl(argv[0], argv[0], "after-exec", text[0], text[1], NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    TRY("exec.status", WEXITSTATUS(status));
    for (int i = 3; i < 1024; i++)
        close(i);
    TRY("closed-all.reopen", open("/dev/xen/evtchn", O_RDWR) >= 0);
    close_range(3, ~0U, 0);
    TRY("closed-range.reopen", open("/dev/xen/evtchn", O_RDWR) >= 0);
}

void after_exec(char **argv)
{
    int fd = atoi(argv[2]);
    struct ioctl_evtchn_notify notify = {atoi(argv[3])};
    uint64_t index;

    TRY("exec.notify", ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify));
    notify.port = 3999;
    TRY("exec.notify-not-bound", ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify));
    TRY("exec.wrong-node", map(fd, 0, 8, &index));
}
