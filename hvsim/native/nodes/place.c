/*
 * Where a daemon of dom0 believes itself to be.
 *
 * Xen's own daemons expect a machine of their own: to be root, to listen at
 * /var/run/xenstored/socket, to be allowed a million descriptors.  A lab is one of many, and its
 * owner an ordinary user, so for a program that was given a store's directory (XENSTORED_RUNDIR):
 *
 *   bind, unlink   /var/run/xenstored/socket is $XENSTORED_RUNDIR/socket (oxenstored has no option
 *                  for it; the C daemon reads the variable by itself)
 *   mkdir          of /var/run/xenstored is done already
 *   setrlimit      descriptors: as many as the machine allows, which is what they are for
 *                  (oxenstored asks for fs.nr_open and ends when it is refused)
 *   geteuid        in dom0 the lab's owner is root (xenconsoled ends otherwise); the kernel goes on
 *                  judging by who it is
 *
 * Nothing else of a program's calls is touched here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define STORE_DIRECTORY "/var/run/xenstored"
#define STORE_SOCKET STORE_DIRECTORY "/socket"

/* The function of that name below this library. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The lab's place for the store's socket when `path` is the machine's, else NULL. */
static const char *lab_directory(const char *path)
{
    return strcmp(path, STORE_SOCKET) == 0 ? getenv("XENSTORED_RUNDIR") : NULL;
}

EXPORT int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t size)
{
    struct sockaddr_un given = {0};
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    const char *directory;

    if (size > head && size <= sizeof(given) && address.__sockaddr__->sa_family == AF_UNIX) {
        memcpy(&given, address.__sockaddr__, size);
        if (strnlen(given.sun_path, sizeof(given.sun_path)) < sizeof(given.sun_path)
            && (directory = lab_directory(given.sun_path)) != NULL) {
            struct sockaddr_un moved = {.sun_family = AF_UNIX};
            int length = snprintf(moved.sun_path, sizeof(moved.sun_path), "%s/socket", directory);

            if (length < 0 || (size_t)length >= sizeof(moved.sun_path)) {
                errno = ENAMETOOLONG;
                return -1;
            }
            return REAL(bind)(fd, (const struct sockaddr *)&moved, sizeof(moved));
        }
    }
    return REAL(bind)(fd, address, size);
}

EXPORT int unlink(const char *path)
{
    const char *directory = lab_directory(path);
    char moved[sizeof(((struct sockaddr_un *)0)->sun_path)];

    if (!directory)
        return REAL(unlink)(path);
    snprintf(moved, sizeof(moved), "%s/socket", directory);
    return REAL(unlink)(moved);
}

EXPORT int mkdir(const char *path, mode_t mode)
{
    if (strcmp(path, STORE_DIRECTORY) == 0 && getenv("XENSTORED_RUNDIR")) {
        errno = EEXIST;
        return -1;
    }
    return REAL(mkdir)(path, mode);
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *wanted)
{
    struct rlimit now;

    if (resource == RLIMIT_NOFILE && getenv("XENSTORED_RUNDIR")
        && getrlimit(resource, &now) == 0 && wanted->rlim_max > now.rlim_max) {
        now.rlim_cur = now.rlim_max;
        return REAL(setrlimit)(resource, &now);
    }
    return REAL(setrlimit)(resource, wanted);
}

EXPORT uid_t geteuid(void)
{
    const char *domid = getenv("XEN_DOMID");

    return domid && strcmp(domid, "0") == 0 ? 0 : REAL(geteuid)();
}
