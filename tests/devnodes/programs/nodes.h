/* What the programs that use /dev/xen share: opening a node, mapping grants, touching memory. */
#ifndef NODES_H
#define NODES_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define __XEN_TOOLS__ 1
#include <xen/xen.h>
#include <xen/sys/gntdev.h>

#include "attempts.h"

#define PAGE 4096
#define WILD ((void *)0x10)
#define RW (PROT_READ | PROT_WRITE)

static inline int node(const char *name)
{
    char path[40];
    int fd;

    snprintf(path, sizeof(path), "/dev/xen/%s", name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        perror(path), exit(1);
    return fd;
}

static inline long map(int fd, unsigned domid, unsigned ref, uint64_t *index)
{
    struct ioctl_gntdev_map_grant_ref arg = {.count = 1, .refs = {{domid, ref}}};
    long done = ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &arg);

    *index = arg.index;
    return done;
}

static inline long mapped(void *at) { return at == MAP_FAILED ? -1 : 0; }

/* Whether reading an address ends a child, and how. */
static inline void touch(const char *name, volatile char *at)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        _exit(*at & 0x7f);
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s signal %d\n", name, WTERMSIG(status));
    else
        printf("%s %d\n", name, WEXITSTATUS(status));
    fflush(stdout);
}

/* An argument of which only the first `size` bytes lie in memory. */
static inline void *at_the_end(const void *data, size_t size)
{
    char *two = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(two + PAGE, PAGE);
    return memcpy(two + PAGE - size, data, size);
}

#endif
