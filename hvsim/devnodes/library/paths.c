/*
 * The paths: which node, or file of /proc/xen or /sys/hypervisor, a program means.
 * /sys/bus/xen-backend is there and empty: backends of a lab are no devices of this machine.
 *
 * Nothing below these directories is the machine's: on a machine that runs under a real Xen a program
 * in a lab must not reach that one.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The function of that name below this library. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum { EMPTY_DIRECTORY = 8 }; /* of hvsim/devnodes/texts.py */

static const struct {
    const char *path;
    enum what what;
    int which;
} paths[] = {
    {"/dev/xen", DIRECTORY, EMPTY_DIRECTORY},
    {"/dev/xen/", DIRECTORY, EMPTY_DIRECTORY},
    {"/proc/xen", DIRECTORY, EMPTY_DIRECTORY},
    {"/proc/xen/", DIRECTORY, EMPTY_DIRECTORY},
    {"/dev/xen/evtchn", NODE, EVTCHN},
    {"/dev/xen/gntdev", NODE, GNTDEV},
    {"/dev/xen/gntalloc", NODE, GNTALLOC},
    {"/dev/xen/privcmd", NODE, PRIVCMD},
    {"/proc/xen/privcmd", NODE, PRIVCMD},
    {"/proc/xen/capabilities", PROC, 0},
    {"/proc/xen/xsd_port", PROC, 1},
    {"/proc/xen/xsd_kva", PROC, 2},
    {"/dev/xen/xenbus", NODE, XENBUS},
    {"/proc/xen/xenbus", NODE, XENBUS},
    {"/sys/bus/xen-backend", DIRECTORY, EMPTY_DIRECTORY},
    {"/sys/bus/xen-backend/devices", DIRECTORY, EMPTY_DIRECTORY},
    {"/sys/hypervisor", DIRECTORY, EMPTY_DIRECTORY},
    {"/sys/hypervisor/", DIRECTORY, EMPTY_DIRECTORY},
    {"/sys/hypervisor/version", DIRECTORY, EMPTY_DIRECTORY},
    {"/sys/hypervisor/type", PROC, 3},
    {"/sys/hypervisor/guest_type", PROC, 4},
    {"/sys/hypervisor/version/major", PROC, 5},
    {"/sys/hypervisor/version/minor", PROC, 6},
    {"/sys/hypervisor/version/extra", PROC, 7},
};

/* The directories that are ours with all that is in them. */
static const char *const roots[] = {"/dev/xen", "/proc/xen", "/sys/hypervisor",
                                    "/sys/bus/xen-backend"};

static int below(const char *path)
{
    for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
        size_t length = strlen(roots[i]);

        if (strncmp(path, roots[i], length) == 0 && (!path[length] || path[length] == '/'))
            return 1;
    }
    return 0;
}

enum what look(const char *path, int *which)
{
    if (!path || path[0] != '/' || !has_door() || !below(path))
        return NOT_OURS;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (strcmp(path, paths[i].path) == 0) {
            *which = paths[i].which;
            return paths[i].what;
        }
    return MISSING;
}

static int open_node(enum what what, int which)
{
    static struct answer answer;
    struct request request = {.op = what == NODE ? OP_OPEN : OP_PROC, .a = (uint64_t)which};
    struct held held;
    int64_t done;

    take(&held);
    done = ask(&request, NULL, 0, NULL, 0, &answer);
    if (done >= 0 && answer.count != 1) {
        close_all(&answer);
        done = -EIO;
    }
    if (done >= 0) {
        if (what == NODE)
            know(answer.reply.area, (enum kind)which);
        done = answer.fds[0];
    }
    give_back(&held);
    return (int)done;
}

/* Open a path of ours: a descriptor or a negative errno. */
static int open_ours(enum what what, int which, int flags)
{
    int fd = what == MISSING ? -ENOENT
             : what == DIRECTORY && flags & O_ACCMODE ? -EISDIR
             : what != DIRECTORY && flags & O_DIRECTORY ? -ENOTDIR
                                                        : open_node(what, which);

    if (fd >= 0) {
        if (what == NODE)
            mark(fd);
        if (!(flags & O_CLOEXEC))
            RAW3(SYS_fcntl, fd, F_SETFD, 0);
        if (flags & O_NONBLOCK)
            RAW3(SYS_fcntl, fd, F_SETFL, O_RDWR | O_NONBLOCK);
    }
    return fd;
}

static int finish(int fd)
{
    if (fd >= 0)
        return fd;
    errno = -fd;
    return -1;
}

static int takes_mode(int flags)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

#define MODE_OF(flags, last)                                                                       \
    mode_t mode = 0;                                                                               \
    if (takes_mode(flags)) {                                                                       \
        va_list arguments;                                                                         \
        va_start(arguments, last);                                                                 \
        mode = va_arg(arguments, mode_t);                                                          \
        va_end(arguments);                                                                         \
    }

#define OPEN(name)                                                                                 \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        int which = 0;                                                                             \
        enum what what = look(path, &which);                                                       \
        MODE_OF(flags, flags)                                                                      \
        PLACE(there, path);                                                                        \
                                                                                                   \
        return what ? finish(open_ours(what, which, flags)) : NEXT(name)(there, flags, mode);      \
    }

#define OPENAT(name)                                                                               \
    EXPORT int name(int folder, const char *path, int flags, ...)                                  \
    {                                                                                              \
        int which = 0;                                                                             \
        enum what what = look(path, &which);                                                       \
        MODE_OF(flags, flags)                                                                      \
        PLACE(there, path);                                                                        \
                                                                                                   \
        return what ? finish(open_ours(what, which, flags))                                        \
                    : NEXT(name)(folder, there, flags, mode);                                      \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* What a fortified program calls for open(path, flags). */
EXPORT int __open_2(const char *path, int flags) { return open(path, flags); }
EXPORT int __open64_2(const char *path, int flags) { return open64(path, flags); }
EXPORT int __openat_2(int folder, const char *path, int flags) { return openat(folder, path, flags); }
EXPORT int __openat64_2(int folder, const char *path, int flags)
{
    return openat64(folder, path, flags);
}

#define FOPEN(name)                                                                                \
    EXPORT FILE *name(const char *path, const char *mode)                                          \
    {                                                                                              \
        int which = 0, fd;                                                                         \
        enum what what = look(path, &which);                                                       \
        FILE *file;                                                                                \
                                                                                                   \
        if (!what) {                                                                               \
            PLACE(there, path);                                                                    \
                                                                                                   \
            return NEXT(name)(there, mode);                                                        \
        }                                                                                          \
        fd = finish(open_ours(what, which, strchr(mode, 'e') ? O_CLOEXEC : 0));                    \
        file = fd < 0 ? NULL : fdopen(fd, mode);                                                   \
        if (fd >= 0 && !file)                                                                      \
            RAW1(SYS_close, fd);                                                                   \
        return file;                                                                               \
    }

FOPEN(fopen)
FOPEN(fopen64)

/* Programs list the directories, too; there is nothing in them to be found by name. */
EXPORT DIR *opendir(const char *path)
{
    int which = 0, fd;
    enum what what = look(path, &which);
    DIR *folder;

    if (!what) {
        PLACE(there, path);

        return NEXT(opendir)(there);
    }
    fd = finish(open_ours(what, which, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    folder = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !folder)
        RAW1(SYS_close, fd);
    return folder;
}
