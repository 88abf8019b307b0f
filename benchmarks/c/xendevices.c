/*
 * Stands in for the device nodes that a real xenstored opens, so that it runs without Xen:
 *
 *     LD_PRELOAD=xendevices.so xenstored -N
 *
 * What the daemon does with its clients' sockets is untouched; that is what the benchmark measures.
 * An event channel is a descriptor that never becomes readable, a mapped page is one of zeros, and
 * every request to a device is answered with success.  Where the daemon's socket lies is the
 * business of hvsim/native/nodes/place.c, which is compiled into the same library.  The node library
 * itself would not do here: it speaks to a hypervisor, and there is none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

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

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        static int (*real)(const char *, int, ...);                                                \
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
        return real(path, flags, mode);                                                            \
    }

OPEN(open)
OPEN(open64)
OPEN(__open_2) /* what a fortified program calls for open(path, flags) */
OPEN(__open64_2)

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
