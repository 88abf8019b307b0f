/*
 * The lab's own /var/lib/xen and the like, for programs of dom0.
 *
 * Xen's programs expect a machine of their own: they keep what they know of domains in /var/lib/xen,
 * lock /var/lock/xl, listen at /var/run/xenstored/socket, want to be root and to be allowed a million
 * descriptors.  A lab is one of many on a machine, and its owner an ordinary user, so for a program
 * that was given the lab's directory (HVSIM_DOM0):
 *
 *   paths          whose name begins with "xen" in /var/lib, /var/run, /run, /var/log or /var/lock,
 *                  and /var/lock/xl, lie in $HVSIM_DOM0/var/...; what the machine has there is left
 *                  alone, and not seen
 *   exec           of a script in /etc/xen/scripts is that of $HVSIM_DOM0/etc/xen/scripts, where the
 *                  lab has one: the machine's would look for loop devices and bridges
 *   setrlimit      descriptors: as many as the machine allows, which is what they are for
 *                  (oxenstored asks for fs.nr_open and ends when it is refused)
 *   geteuid        in dom0 the lab's owner is root (xenconsoled ends otherwise); the kernel goes on
 *                  judging by who it is
 *
 * Paths are looked at as they are written, from the root or the working directory; not those from
 * another directory that a program has open.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <dlfcn.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define SCRIPTS "/etc/xen/scripts/"

/* The function of that name below this library. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Directories of the machine, and what they are called in the lab's; longer ones first. */
static const struct {
    const char *from, *to;
} roots[] = {
    {"/var/run/lock/", "/var/lock/"}, {"/run/lock/", "/var/lock/"}, {"/var/lock/", "/var/lock/"},
    {"/var/run/", "/var/run/"},       {"/run/", "/var/run/"},       {"/var/lib/", "/var/lib/"},
    {"/var/log/", "/var/log/"},
};

static const char *lab(void)
{
    static const char *found;
    static int looked;

    if (!looked) {
        found = getenv("HVSIM_DOM0");
        if (found && *found != '/')
            found = NULL;
        looked = 1;
    }
    return found;
}

static int is_xens(const char *name)
{
    return strncmp(name, "xen", 3) == 0 || strcmp(name, "xl") == 0;
}

/* The working directory, when a path from there may lead to one of the roots (mkdir -p goes down
 * step by step); else NULL.  It is asked for anew after each chdir. */
static int unknown_directory = 1;

static const char *directory(void)
{
    static char where[64];

    if (__atomic_exchange_n(&unknown_directory, 0, __ATOMIC_ACQ_REL)) {
        char now[64] = "";

        if (RAW2(SYS_getcwd, now, sizeof(now)) <= 0 || now[0] != '/'
            || (now[1] && strcmp(now, "/run") != 0 && strcmp(now, "/run/lock") != 0
                && strcmp(now, "/var") != 0 && strncmp(now, "/var/", 5) != 0))
            now[0] = 0;
        memcpy(where, now, sizeof(where));
    }
    return where[0] ? where : NULL;
}

static const char *from_root(const char *path, char buffer[PLACED_MAX]);

const char *placed(const char *path, char buffer[PLACED_MAX])
{
    char whole[PLACED_MAX];
    const char *where, *there;

    if (!lab() || !path || !*path)
        return path;
    if (path[0] == '/')
        return from_root(path, buffer);
    where = directory();
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (!where || snprintf(whole, sizeof(whole), "%s/%s", where[1] ? where : "", path) >= PLACED_MAX)
        return path;
    there = from_root(whole, buffer);
    return there == whole ? path : there;
}

/* The same for one from the root; itself when it is none of Xen's. */
static const char *from_root(const char *path, char buffer[PLACED_MAX])
{
    if (path[1] != 'v' && path[1] != 'r')
        return path;
    for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
        size_t size = strlen(roots[i].from);

        if (strncmp(path, roots[i].from, size) != 0)
            continue;
        if (!is_xens(path + size))
            return path;
        if (snprintf(buffer, PLACED_MAX, "%s%s%s", lab(), roots[i].to, path + size) >= PLACED_MAX)
            return ""; /* ENOENT: it is nowhere */
        return buffer;
    }
    return path;
}

/* ---- calls that name one path ---- */

#define ONE(type, name, given, passed)                                                             \
    EXPORT type name given                                                                         \
    {                                                                                              \
        PLACE(there, path);                                                                        \
                                                                                                   \
        return REAL(name) passed;                                                                  \
    }

ONE(int, creat, (const char *path, mode_t mode), (there, mode))
ONE(int, creat64, (const char *path, mode_t mode), (there, mode))
ONE(int, unlink, (const char *path), (there))
ONE(int, unlinkat, (int folder, const char *path, int flags), (folder, there, flags))
ONE(int, rmdir, (const char *path), (there))
ONE(int, remove, (const char *path), (there))
ONE(int, mkdir, (const char *path, mode_t mode), (there, mode))
ONE(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, there, mode))
ONE(int, mkfifo, (const char *path, mode_t mode), (there, mode))
ONE(int, chmod, (const char *path, mode_t mode), (there, mode))
ONE(int, fchmodat, (int folder, const char *path, mode_t mode, int flags),
    (folder, there, mode, flags))
ONE(int, chown, (const char *path, uid_t user, gid_t group), (there, user, group))
ONE(int, lchown, (const char *path, uid_t user, gid_t group), (there, user, group))
ONE(int, fchownat, (int folder, const char *path, uid_t user, gid_t group, int flags),
    (folder, there, user, group, flags))
ONE(int, utimensat, (int folder, const char *path, const struct timespec times[2], int flags),
    (folder, there, times, flags))
ONE(int, truncate, (const char *path, off_t size), (there, size))
ONE(int, truncate64, (const char *path, off64_t size), (there, size))
ONE(ssize_t, readlink, (const char *restrict path, char *restrict to, size_t size),
    (there, to, size))
ONE(char *, realpath, (const char *restrict path, char *restrict to), (there, to))
ONE(FILE *, freopen, (const char *restrict path, const char *restrict mode, FILE *restrict file),
    (there, mode, file))
/* What is found is named as it lies in the lab, which is a name as good as the other. */
ONE(int, glob, (const char *restrict path, int flags, int (*failed)(const char *, int),
                glob_t *restrict found), (there, flags, failed, found))
ONE(int, glob64, (const char *restrict path, int flags, int (*failed)(const char *, int),
                  glob64_t *restrict found), (there, flags, failed, found))

EXPORT int chdir(const char *path)
{
    PLACE(there, path);
    int done = REAL(chdir)(there);

    __atomic_store_n(&unknown_directory, 1, __ATOMIC_RELEASE);
    return done;
}

EXPORT int fchdir(int fd)
{
    int done = REAL(fchdir)(fd);

    __atomic_store_n(&unknown_directory, 1, __ATOMIC_RELEASE);
    return done;
}

/* ---- two paths; what a symbolic link says is left as it is ---- */

#define TWO(name, given, passed)                                                                   \
    EXPORT int name given                                                                          \
    {                                                                                              \
        PLACE(here, from);                                                                         \
        PLACE(there, to);                                                                          \
                                                                                                   \
        return REAL(name) passed;                                                                  \
    }

TWO(rename, (const char *from, const char *to), (here, there))
TWO(renameat, (int old, const char *from, int new, const char *to), (old, here, new, there))
TWO(renameat2, (int old, const char *from, int new, const char *to, unsigned int flags),
    (old, here, new, there, flags))
TWO(link, (const char *from, const char *to), (here, there))
TWO(linkat, (int old, const char *from, int new, const char *to, int flags),
    (old, here, new, there, flags))

EXPORT int symlink(const char *text, const char *path)
{
    PLACE(there, path);

    return REAL(symlink)(text, there);
}

EXPORT int symlinkat(const char *text, int folder, const char *path)
{
    PLACE(there, path);

    return REAL(symlinkat)(text, folder, there);
}

/* ---- sockets with a path ---- */

/* Returns the size of the address to use, 0 when there is no room for its path. */
static socklen_t moved(const struct sockaddr *given, socklen_t size, struct sockaddr_un *to)
{
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    char path[sizeof(to->sun_path) + 1] = "";

    if (size <= head || size > sizeof(*to))
        return 0;
    memcpy(path, ((const struct sockaddr_un *)given)->sun_path, size - head);
    PLACE(there, path);
    *to = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(there) >= sizeof(to->sun_path))
        return 0;
    strcpy(to->sun_path, there);
    return sizeof(*to);
}

#define SOCKET(name)                                                                               \
    EXPORT int name(int fd, __CONST_SOCKADDR_ARG address, socklen_t size)                          \
    {                                                                                              \
        const struct sockaddr *given = address.__sockaddr__;                                       \
        struct sockaddr_un to;                                                                     \
                                                                                                   \
        if (!lab() || !given || size < sizeof(sa_family_t) || given->sa_family != AF_UNIX          \
            || size <= sizeof(sa_family_t) || given->sa_data[0] != '/')                            \
            return REAL(name)(fd, address, size);                                                  \
        size = moved(given, size, &to);                                                            \
        if (!size) {                                                                               \
            errno = ENAMETOOLONG;                                                                  \
            return -1;                                                                             \
        }                                                                                          \
        return REAL(name)(fd, (const struct sockaddr *)&to, size);                                 \
    }

SOCKET(bind)
SOCKET(connect)

/* ---- hotplug scripts ---- */

static const char *script(const char *path, char buffer[PLACED_MAX])
{
    if (!lab() || !path || strncmp(path, SCRIPTS, strlen(SCRIPTS)) != 0
        || snprintf(buffer, PLACED_MAX, "%s%s", lab(), path) >= PLACED_MAX
        || REAL(access)(buffer, X_OK) != 0)
        return path;
    return buffer;
}

#define EXEC(name, given, passed)                                                                  \
    EXPORT int name given                                                                          \
    {                                                                                              \
        char buffer[PLACED_MAX];                                                                   \
        const char *there = script(path, buffer);                                                  \
                                                                                                   \
        return REAL(name) passed;                                                                  \
    }

EXEC(execv, (const char *path, char *const words[]), (there, words))
EXEC(execvp, (const char *path, char *const words[]), (there, words))
EXEC(execve, (const char *path, char *const words[], char *const variables[]),
     (there, words, variables))

/* ---- who we are, and how much we may have ---- */

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *wanted)
{
    struct rlimit now;

    if (resource == RLIMIT_NOFILE && lab() && getrlimit(resource, &now) == 0
        && wanted->rlim_max > now.rlim_max) {
        now.rlim_cur = now.rlim_max;
        return REAL(setrlimit)(resource, &now);
    }
    return REAL(setrlimit)(resource, wanted);
}

EXPORT uid_t geteuid(void)
{
    return lab() ? 0 : REAL(geteuid)();
}
