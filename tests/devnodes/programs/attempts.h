/* One attempt a line: "name result", where the result is the name of an errno or a number. */
#ifndef ATTEMPTS_H
#define ATTEMPTS_H

#ifndef _GNU_SOURCE
#error "strerrorname_np(3) wants _GNU_SOURCE"
#endif
#include <errno.h>
#include <stdio.h>
#include <string.h>

static inline void say(const char *name, long result)
{
    if (result == -1 && errno)
        printf("%s %s\n", name, strerrorname_np(errno));
    else
        printf("%s %ld\n", name, result);
    fflush(stdout);
}

/* Do one thing and say what came of it. */
#define TRY(name, ...)                                                                             \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long result_ = (long)(__VA_ARGS__);                                                        \
        say(name, result_);                                                                        \
    } while (0)

#endif
