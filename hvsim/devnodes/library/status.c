/*
 * What stat and access say of the paths of paths.c, and fstat of a node's descriptor: a character
 * device, though it is a socket.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MISC_MAJOR 10
#define FIRST_MINOR 50

/* The function of that name below this library. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int missing(enum what what)
{
    if (what != MISSING)
        return 0;
    errno = ENOENT;
    return -1;
}

/* The type and mode of a path of ours. */
static mode_t mode_of(enum what what)
{
    return what == DIRECTORY ? S_IFDIR | 0755 : what == PROC ? S_IFREG | 0444 : S_IFCHR | 0600;
}

/* The node of a descriptor, 0 for any other. */
static enum kind kind_of(int fd)
{
    enum kind kind;

    return is_marked(fd) && file_of(fd, &kind) ? kind : 0;
}

static int is_self(const char *path, int flags)
{
    return flags & AT_EMPTY_PATH && path && !*path;
}

#define FILL(info, what, which)                                                                    \
    memset(info, 0, sizeof(*(info)));                                                              \
    (info)->st_mode = mode_of(what);                                                               \
    (info)->st_nlink = 1;                                                                          \
    (info)->st_uid = geteuid();                                                                    \
    (info)->st_gid = getegid();                                                                    \
    (info)->st_blksize = PAGE;                                                                     \
    if (S_ISCHR((info)->st_mode))                                                                  \
        (info)->st_rdev = makedev(MISC_MAJOR, (unsigned)(which) + FIRST_MINOR);

#define STAT(name, type)                                                                           \
    EXPORT int name(const char *path, struct type *info)                                           \
    {                                                                                              \
        int which = 0;                                                                             \
        enum what what = look(path, &which);                                                       \
        PLACE(there, path);                                                                        \
                                                                                                   \
        if (!what)                                                                                 \
            return NEXT(name)(there, info);                                                        \
        if (missing(what))                                                                         \
            return -1;                                                                             \
        FILL(info, what, which)                                                                    \
        return 0;                                                                                  \
    }

#define FSTATAT(name, type)                                                                        \
    EXPORT int name(int folder, const char *path, struct type *info, int flags)                    \
    {                                                                                              \
        int which = is_self(path, flags) ? (int)kind_of(folder) : 0;                               \
        enum what what = which ? NODE : look(path, &which);                                        \
        PLACE(there, path);                                                                        \
                                                                                                   \
        if (!what)                                                                                 \
            return NEXT(name)(folder, there, info, flags);                                         \
        if (missing(what))                                                                         \
            return -1;                                                                             \
        FILL(info, what, which)                                                                    \
        return 0;                                                                                  \
    }

#define FSTAT(name, type)                                                                          \
    EXPORT int name(int fd, struct type *info)                                                     \
    {                                                                                              \
        enum kind kind = kind_of(fd);                                                              \
                                                                                                   \
        if (!kind)                                                                                 \
            return NEXT(name)(fd, info);                                                           \
        FILL(info, NODE, kind)                                                                     \
        return 0;                                                                                  \
    }

STAT(stat, stat)
STAT(lstat, stat)
STAT(stat64, stat64)
STAT(lstat64, stat64)
FSTATAT(fstatat, stat)
FSTATAT(fstatat64, stat64)
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

EXPORT int statx(int folder, const char *restrict path, int flags, unsigned int mask,
                 struct statx *restrict info)
{
    int which = is_self(path, flags) ? (int)kind_of(folder) : 0;
    enum what what = which ? NODE : look(path, &which);
    PLACE(there, path);
    struct stat known;

    if (!what)
        return NEXT(statx)(folder, there, flags, mask, info);
    if (missing(what))
        return -1;
    FILL(&known, what, which)
    memset(info, 0, sizeof(*info));
    info->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID;
    info->stx_mode = (uint16_t)known.st_mode;
    info->stx_nlink = (uint32_t)known.st_nlink;
    info->stx_uid = known.st_uid;
    info->stx_gid = known.st_gid;
    info->stx_blksize = PAGE;
    info->stx_rdev_major = major(known.st_rdev);
    info->stx_rdev_minor = minor(known.st_rdev);
    return 0;
}

/* Whether a path of ours allows what is asked: everything but to be executed. */
static int may(enum what what, int mode)
{
    if (missing(what))
        return -1;
    if (mode & X_OK && what != DIRECTORY) {
        errno = EACCES;
        return -1;
    }
    return 0;
}

#define ACCESS(name)                                                                               \
    EXPORT int name(const char *path, int mode)                                                    \
    {                                                                                              \
        int which = 0;                                                                             \
        enum what what = look(path, &which);                                                       \
        PLACE(there, path);                                                                        \
                                                                                                   \
        return what ? may(what, mode) : NEXT(name)(there, mode);                                   \
    }

ACCESS(access)
ACCESS(eaccess)
ACCESS(euidaccess)

EXPORT int faccessat(int folder, const char *path, int mode, int flags)
{
    int which = 0;
    enum what what = look(path, &which);
    PLACE(there, path);

    return what ? may(what, mode) : NEXT(faccessat)(folder, there, mode, flags);
}
