/*
 * Which descriptors may be of a node.
 *
 * read and write are called for every kind of file, so they must not ask the kernel each time what a
 * descriptor is.  Those that may be of a node are marked: when one is opened, duplicated, received
 * or found at the start of a program.  A mark is never taken back; what a marked descriptor is now
 * says file_of().
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define TABLE 1024 /* descriptors from here on are always looked at */
#define BITS (8 * sizeof(unsigned long))
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static unsigned long marks[TABLE / BITS];

void mark(int fd)
{
    if (fd >= 0 && fd < TABLE)
        __atomic_or_fetch(&marks[(unsigned)fd / BITS], 1UL << ((unsigned)fd % BITS),
                          __ATOMIC_RELAXED);
}

int is_marked(int fd)
{
    if (fd < 0 || !has_door())
        return 0;
    return fd >= TABLE || __atomic_load_n(&marks[(unsigned)fd / BITS], __ATOMIC_RELAXED)
                              >> ((unsigned)fd % BITS) & 1;
}

/* The copy of a descriptor that may be of a node may be of one, too. */
static int copied(int from, int to)
{
    if (to >= 0 && is_marked(from))
        mark(to);
    return to;
}

EXPORT int dup(int fd)
{
    return copied(fd, NEXT(dup)(fd));
}

EXPORT int dup2(int from, int to)
{
    return is_hidden(to) ? refused() : copied(from, NEXT(dup2)(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
    return is_hidden(to) ? refused() : copied(from, NEXT(dup3)(from, to, flags));
}

#define FCNTL(name)                                                                                \
    EXPORT int name(int fd, int command, ...)                                                      \
    {                                                                                              \
        va_list arguments;                                                                         \
        void *argument;                                                                            \
        int done;                                                                                  \
                                                                                                   \
        va_start(arguments, command);                                                              \
        argument = va_arg(arguments, void *);                                                      \
        va_end(arguments);                                                                         \
        done = NEXT(name)(fd, command, argument);                                                  \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, done) : done;         \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    static ssize_t (*next)(int, struct msghdr *, int);
    ssize_t done;

    if (!next)
        next = NEXT(recvmsg);
    done = next(fd, message, flags);
    if (done >= 0 && message->msg_controllen && has_door())
        for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head;
             head = CMSG_NXTHDR(message, head))
            if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
                for (size_t at = 0; at + sizeof(int) <= head->cmsg_len - CMSG_LEN(0);
                     at += sizeof(int)) {
                    int given;

                    memcpy(&given, CMSG_DATA(head) + at, sizeof(given));
                    mark(given);
                }
    return done;
}

/* What a program was born with.  One poll(2) tells which descriptors there are at all. */
void mark_inherited(void)
{
    struct pollfd look[TABLE];
    struct rlimit limit;
    nfds_t count = TABLE;

    if (!has_door())
        return;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < count)
        count = (nfds_t)limit.rlim_cur;
    for (nfds_t i = 0; i < count; i++)
        look[i] = (struct pollfd){.fd = (int)i};
    if (poll(look, count, 0) < 0)
        return;
    for (nfds_t i = 0; i < count; i++)
        if (!(look[i].revents & POLLNVAL) && from_our_kernel((int)i))
            mark((int)i);
}
