/*
 * The door and this process's connection are not the program's to close: a daemon that closes every
 * descriptor it did not open itself (or a shell that puts another over one, see files.c) would be
 * without nodes.  To the program they are numbers that are not open.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int refused(void)
{
    errno = EBADF;
    return -1;
}

EXPORT int close(int fd)
{
    static int (*next)(int);

    if (is_hidden(fd))
        return refused();
    if (!next)
        next = NEXT(close);
    return next(fd);
}

/* Around what is hidden: the ranges between. */
EXPORT int close_range(unsigned int first, unsigned int last, int flags)
{
    unsigned int from = first;
    long done = 0;
    int hidden;

    if (first > last) {
        errno = EINVAL;
        return -1;
    }
    while (from <= 0x7fffffff && (hidden = next_hidden((int)from)) >= 0
           && (unsigned int)hidden <= last && done >= 0) {
        if ((unsigned int)hidden > from)
            done = RAW3(SYS_close_range, from, hidden - 1, flags);
        from = (unsigned int)hidden + 1;
    }
    if (from <= last && done >= 0)
        done = RAW3(SYS_close_range, from, last, flags);
    if (done < 0) {
        errno = (int)-done;
        return -1;
    }
    return 0;
}

EXPORT void closefrom(int first)
{
    close_range(first < 0 ? 0 : (unsigned int)first, ~0U, 0);
}
