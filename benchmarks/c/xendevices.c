/*
 * Stands in for what a real xenstored expects of its machine, so that it runs without Xen, and
 * several of them side by side:
 *
 *     LD_PRELOAD=xendevices.so XENSTORED_RUNDIR=/some/where xenstored -N
 *
 * What the daemon does with its clients' sockets is untouched; that is what the benchmark measures.
 * An event channel is a descriptor that never becomes readable, a mapped page is one of zeros, and
 * every request to a device is answered with success.  /var/run/xenstored is $XENSTORED_RUNDIR: the
 * socket of oxenstored lies there, and the dump of its store that it writes whenever it rotates
 * its logs (a directory that is not there costs it a rotation for every line).  A limit of
 * descriptors that may not be raised stays as it is.  The node library of hvsim would not do
 * here: it speaks to a hypervisor, and there is none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RUN_DIRECTORY "/var/run/xenstored"
#define PAGES (1 << 20)
#define FDS 1024

static unsigned char ours[FDS];

/* A memory file of zeros, which begins with `text`. */
static int memory(const char *text)
{
    int fd = memfd_create("xendevices", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, *text ? (off_t)strlen(text) : PAGES) != 0)
        return -1;
    if (pwrite(fd, text, strlen(text), 0) < 0)
        return -1;
    return fd;
}

/* The stand-in for `path`, or -1 when it is none of ours. */
static int stand_in(const char *path)
{
    int fd = -1;

    if (strcmp(path, "/dev/xen/evtchn") == 0)
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    else if (strcmp(path, "/dev/xen/gntdev") == 0 || strcmp(path, "/dev/xen/privcmd") == 0
             || strcmp(path, "/proc/xen/xsd_kva") == 0)
        fd = memory("");
    else if (strcmp(path, "/proc/xen/xsd_port") == 0)
        fd = memory("1\n");
    if (fd >= 0 && fd < FDS)
        ours[fd] = 1;
    return fd;
}

/* `path`, or where it lies in $XENSTORED_RUNDIR; `there` has PATH_MAX bytes. */
static const char *moved(const char *path, char *there)
{
    const size_t size = sizeof(RUN_DIRECTORY) - 1;
    const char *directory = getenv("XENSTORED_RUNDIR");

    if (!directory || strncmp(path, RUN_DIRECTORY, size) != 0 || (path[size] && path[size] != '/'))
        return path;
    snprintf(there, PATH_MAX, "%s%s", directory, path + size);
    return there;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        static int (*real)(const char *, int, ...);                                                \
        char there[PATH_MAX];                                                                      \
        mode_t mode = 0;                                                                           \
        int fd = stand_in(path);                                                                   \
                                                                                                   \
        if (fd >= 0)                                                                               \
            return fd;                                                                             \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                     \
            va_list arguments;                                                                     \
            va_start(arguments, flags);                                                            \
            mode = va_arg(arguments, mode_t);                                                      \
            va_end(arguments);                                                                     \
        }                                                                                          \
        if (!real)                                                                                 \
            real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);                       \
        return real(moved(path, there), flags, mode);                                              \
    }

OPEN(open)
OPEN(open64)
OPEN(__open_2) /* what a fortified program calls for open(path, flags) */
OPEN(__open64_2)

int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t size)
{
    struct sockaddr_un given = {0};
    char there[PATH_MAX];
    const char *path;

    if (address.__sockaddr__->sa_family != AF_UNIX || size >= sizeof(given))
        return REAL(bind)(fd, address, size);
    memcpy(&given, address.__sockaddr__, size);
    path = moved(given.sun_path, there);
    if (path == given.sun_path)
        return REAL(bind)(fd, address, size);
    if (strlen(path) >= sizeof(given.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(given.sun_path, path);
    return REAL(bind)(fd, (const struct sockaddr *)&given, sizeof(given));
}

int unlink(const char *path)
{
    char there[PATH_MAX];

    return REAL(unlink)(moved(path, there));
}

int mkdir(const char *path, mode_t mode)
{
    char there[PATH_MAX];

    return REAL(mkdir)(moved(path, there), mode);
}

int rename(const char *from, const char *to)
{
    char one[PATH_MAX], other[PATH_MAX];

    return REAL(rename)(moved(from, one), moved(to, other));
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *wanted)
{
    int done = REAL(setrlimit)(resource, wanted);

    return done < 0 && errno == EPERM && resource == RLIMIT_NOFILE ? 0 : done;
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, ...);
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (fd >= 0 && fd < FDS && ours[fd]) {
        if (argument) /* of a bind the port, of anything else "done" */
            return 1;
        errno = ENOTTY; /* libxenforeignmemory asks for what no kernel has */
        return -1;
    }
    if (!real)
        real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}

int close(int fd)
{
    static int (*real)(int);

    if (fd >= 0 && fd < FDS)
        ours[fd] = 0;
    if (!real)
        real = (int (*)(int))dlsym(RTLD_NEXT, "close");
    return real(fd);
}
