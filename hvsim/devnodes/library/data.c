/*
 * read, write and their kind.
 *
 *   evtchn    the descriptor brings a message for each port.  A read takes as many ports as fit and
 *             are there; what is no whole port is left alone, as in Linux
 *   xenbus    the descriptor is a stream of the store's answers.  A write is a request to our kernel,
 *             because it has an errno of its own
 *   others    have neither
 *
 * No node raises SIGPIPE.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PORT sizeof(uint32_t)
#define XENBUS_MOST 4096UL /* more is refused without having been looked at */

/* The function of that name below this library, looked for once. */
#define NEXT(variable, name)                                                                       \
    static __typeof__(&name) variable;                                                             \
    if (!variable)                                                                                 \
        variable = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t result(long value)
{
    if (value >= 0)
        return value;
    errno = (int)-value;
    return -1;
}

/* Which node a descriptor is of, if of any. */
static uint64_t node_of(int fd, enum kind *kind)
{
    return is_marked(fd) ? file_of(fd, kind) : 0;
}

/* Whether a port can be put there: getcpu(2) writes as many bytes, or says EFAULT.  A port that was
 * taken off and could not be put would be lost. */
static int writable(void *buffer)
{
    return RAW3(SYS_getcpu, buffer, NULL, NULL) == 0;
}

static long read_ports(int fd, char *buffer, size_t size)
{
    size_t got = 0;

    size &= ~(PORT - 1);
    if (size > PAGE)
        size = PAGE;
    while (got < size) {
        ssize_t done;

        if (!writable(buffer + got))
            return got ? (long)got : -EFAULT;
        done = recv(fd, buffer + got, PORT, got ? MSG_DONTWAIT : 0);
        if (done < 0)
            return got ? (long)got : -errno;
        if (done != (ssize_t)PORT) { /* our kernel has gone */
            check_kernel();
            return got ? (long)got : -EIO;
        }
        got += PORT;
    }
    return (long)got;
}

/* There is always room in the end: our kernel reads, whatever happens. */
static long write_ports(int fd, const char *buffer, size_t size)
{
    size &= ~(PORT - 1);
    if (size > PAGE)
        size = PAGE;
    while (size) {
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        long done = RAW6(SYS_sendto, fd, buffer, size, MSG_NOSIGNAL, NULL, 0);

        if (done == -EPIPE || done == -ECONNRESET) {
            check_kernel();
            return -EIO;
        }
        if (done != -EAGAIN)
            return done;
        if (poll(&room, 1, -1) < 0)
            return -errno;
    }
    return 0;
}

/* The lock is held for a moment only, however long the store takes: see nodes/xenbus.py. */
static long write_request(uint64_t file, const void *buffer, size_t size)
{
    static struct answer answer;
    struct request request = {.op = OP_WRITE, .file = file, .c = size};
    int64_t done;

    do {
        struct held held;
        int plain = !request.a && size <= XENBUS_MOST;

        take(&held);
        done = ask(&request, plain ? buffer : NULL, plain ? size : 0, NULL, 0, &answer);
        give_back(&held);
        if (done == -EINPROGRESS)
            request.a = 1;
    } while (done == -EINPROGRESS || done == -EAGAIN);
    return (long)done;
}

static long node_read(int fd, enum kind kind, void *buffer, size_t size)
{
    if (kind == EVTCHN)
        return read_ports(fd, buffer, size);
    if (kind == XENBUS) {
        ssize_t done = recv(fd, buffer, size, 0);

        return done < 0 ? -errno : done;
    }
    return -EINVAL;
}

static long node_write(int fd, uint64_t file, enum kind kind, const void *buffer, size_t size)
{
    if (kind == EVTCHN)
        return write_ports(fd, buffer, size);
    return kind != XENBUS ? -EINVAL : size ? write_request(file, buffer, size) : 0;
}

EXPORT ssize_t read(int fd, void *buffer, size_t size)
{
    NEXT(next, read);
    enum kind kind;

    return node_of(fd, &kind) ? result(node_read(fd, kind, buffer, size)) : next(fd, buffer, size);
}

/* What a fortified program calls for read(fd, buffer, size). */
ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room);
EXPORT ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room)
{
    NEXT(next, __read_chk);
    enum kind kind;

    return size <= room && node_of(fd, &kind) ? result(node_read(fd, kind, buffer, size))
                                              : next(fd, buffer, size, room);
}

EXPORT ssize_t write(int fd, const void *buffer, size_t size)
{
    NEXT(next, write);
    enum kind kind;
    uint64_t file = node_of(fd, &kind);

    return file ? result(node_write(fd, file, kind, buffer, size)) : next(fd, buffer, size);
}

/* Linux calls read and write of a driver that knows no vectors for one part after the other. */
#define VECTOR(name, one)                                                                          \
    EXPORT ssize_t name(int fd, const struct iovec *parts, int count)                              \
    {                                                                                              \
        NEXT(next, name);                                                                          \
        enum kind kind;                                                                            \
        uint64_t file = node_of(fd, &kind);                                                        \
        long all = 0;                                                                              \
                                                                                                   \
        if (!file || count < 0 || count > 1024)                                                    \
            return next(fd, parts, count);                                                         \
        for (int i = 0; i < count; i++) {                                                          \
            long done = one(fd, file, kind, parts[i].iov_base, parts[i].iov_len);                  \
                                                                                                   \
            if (done < 0)                                                                          \
                return result(all ? all : done);                                                   \
            all += done;                                                                           \
            if ((size_t)done != parts[i].iov_len)                                                  \
                break;                                                                             \
        }                                                                                          \
        return all;                                                                                \
    }

#define read_part(fd, file, kind, buffer, size) ((void)(file), node_read(fd, kind, buffer, size))

VECTOR(readv, read_part)
VECTOR(writev, node_write)

/* At an offset: evtchn and xenbus have none (ESPIPE, which a socket says as well). */
static int refuses_offsets(int fd)
{
    enum kind kind;

    return node_of(fd, &kind) && kind != EVTCHN && kind != XENBUS;
}

#define AT_OFFSET(name, type)                                                                      \
    EXPORT ssize_t name(int fd, type buffer, size_t size, off_t offset)                            \
    {                                                                                              \
        NEXT(next, name);                                                                          \
                                                                                                   \
        return refuses_offsets(fd) ? result(-EINVAL) : next(fd, buffer, size, offset);             \
    }

AT_OFFSET(pread, void *)
AT_OFFSET(pread64, void *)
AT_OFFSET(pwrite, const void *)
AT_OFFSET(pwrite64, const void *)

/* A driver without poll is always ready, and not to be had by epoll. */
EXPORT int epoll_ctl(int set, int command, int fd, struct epoll_event *event)
{
    NEXT(next, epoll_ctl);

    if (command == EPOLL_CTL_ADD && refuses_offsets(fd)) {
        errno = EPERM;
        return -1;
    }
    return next(set, command, fd, event);
}
