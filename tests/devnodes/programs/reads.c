/*
 * Reads and writes of every size, of every node: one attempt a line, "name result", where the result
 * is the name of an errno or a number.
 *
 *     reads DOMID        of its own domain
 *     reads inherited FD as it is started again by itself
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/sys/evtchn.h>

#include "attempts.h"

static void *volatile wild = (void *)0x10;
static uint32_t ports[2048];

static int node(const char *name)
{
    char path[40];
    int fd;

    snprintf(path, sizeof(path), "/dev/xen/%s", name);
    fd = open(path, O_RDWR);
    if (fd < 0)
        perror(path), exit(1);
    return fd;
}

/* Both ends of a channel of this domain with itself; both have rung. */
static int channel(int fd, unsigned domid, uint32_t pair[2])
{
    struct ioctl_evtchn_bind_unbound_port unbound = {domid};
    struct ioctl_evtchn_bind_interdomain inter = {domid, 0};
    struct ioctl_evtchn_notify notify;

    pair[0] = inter.remote_port = (uint32_t)ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
    pair[1] = (uint32_t)ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &inter);
    notify.port = pair[1];
    return ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify);
}

/* Wait until `count` ports are there; polling takes nothing off. */
static void settle(int fd)
{
    struct pollfd look = {fd, POLLIN, 0};

    poll(&look, 1, 20000);
    usleep(100000);
}

static void sizes(int fd)
{
    struct iovec parts[2] = {{ports, 4}, {ports + 1, 6}};

    settle(fd);
    TRY("evtchn.read-0", read(fd, ports, 0));
    TRY("evtchn.read-3", read(fd, ports, 3));
    TRY("evtchn.read-wild", read(fd, wild, 4));
    TRY("evtchn.read-5", read(fd, ports, 5));
    TRY("evtchn.readv", readv(fd, parts, 2));
    TRY("evtchn.read-many", read(fd, ports, sizeof(ports)));
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    TRY("evtchn.read-none", read(fd, ports, sizeof(ports)));
    TRY("evtchn.pread", pread(fd, ports, 4, 0));
    TRY("evtchn.write-3", write(fd, ports, 3));
    TRY("evtchn.write-7", write(fd, ports, 7));
    TRY("evtchn.write-too-many", write(fd, ports, sizeof(ports)));
    TRY("evtchn.write-wild", write(fd, wild, 4));
    TRY("evtchn.pwrite", pwrite(fd, ports, 4, 0));
    fcntl(fd, F_SETFL, O_RDWR);
}

static void others(const char *name)
{
    static const char *const what[] = {"read", "read-0", "write", "pread", "pwrite", "epoll",
                                       "poll", "lseek"};
    int fd = node(name), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd look = {fd, POLLIN | POLLOUT, 0};
    char label[64];

    for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++) {
        long done;

        snprintf(label, sizeof(label), "%s.%s", name, what[i]);
        errno = 0;
        done = i == 0   ? read(fd, ports, 4)
               : i == 1 ? read(fd, ports, 0)
               : i == 2 ? write(fd, ports, 4)
               : i == 3 ? pread(fd, ports, 4, 0)
               : i == 4 ? pwrite(fd, ports, 4, 0)
               : i == 5 ? epoll_ctl(set, EPOLL_CTL_ADD, fd, &event)
               : i == 6 ? poll(&look, 1, 0)
                        : lseek(fd, 0, SEEK_SET);
        say(label, done);
    }
    close(fd), close(set);
}

/* A node that was passed to another process is one there. */
static void passed(int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    int pair[2], got;

    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    if (fork() == 0) {
        close(fd);
        for (int i = 0; i < 100; i++) /* to get a number that no node had before */
            open("/dev/null", O_RDONLY);
        recvmsg(pair[1], &message, 0);
        memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(got));
        TRY("passed.read-3", read(got, ports, 3));
        _exit(0);
    }
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof(int));
    sendmsg(pair[0], &message, 0);
    wait(NULL);
    close(pair[0]), close(pair[1]);
}

static void inherited(int fd)
{
    struct stat info;

    TRY("inherited.read-3", read(fd, ports, 3));
    TRY("inherited.is-a-device", fstat(fd, &info) ? -1 : S_ISCHR(info.st_mode) != 0);
    TRY("inherited.dup", read(dup(fd), ports, 3));
    TRY("inherited.dup2", read(dup2(fd, 77), ports, 3));
    TRY("inherited.fcntl", read(fcntl(fd, F_DUPFD, 90), ports, 3));
}

int main(int argc, char **argv)
{
    int fd;
    unsigned domid;
    uint32_t pair[2];
    char text[16];

    if (argc == 3) {
        inherited(atoi(argv[2]));
        return 0;
    }
    domid = (unsigned)atoi(argv[1]);
    fd = node("evtchn");
    for (int i = 0; i < 3; i++)
        TRY("channel", channel(fd, domid, pair));
    sizes(fd);
    others("gntdev");
    others("gntalloc");
    others("privcmd");
    passed(fd);
    snprintf(text, sizeof(text), "%d", fd);
    fflush(stdout);
    if (fork() == 0)
        execl(argv[0], argv[0], "inherited", text, (char *)NULL);
    wait(NULL);
    printf("done 0\n");
    return 0;
}
