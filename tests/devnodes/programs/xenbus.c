/*
 * A client that speaks the store's wire to /dev/xen/xenbus by itself, well and badly: one attempt a
 * line, "name result", where the result is the name of an errno, a number, or a text.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"

static void *volatile wild = (void *)0x10;
enum { DIRECTORY = 1, READ, WATCH = 4, UNWATCH, START, END, WRITE = 11, EVENT = 15, ERROR };

struct header {
    uint32_t type, request, transaction, length;
};

static char buffer[8192];

/* A request in one piece; `text` may hold zeros. */
static size_t compose(char *to, uint32_t type, uint32_t tx, const char *text, size_t length)
{
    struct header head = {type, 7, tx, (uint32_t)length};

    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), text, length);
    return sizeof(head) + length;
}

static long ask(int fd, uint32_t type, uint32_t tx, const char *text, size_t length)
{
    char request[4200];

    return write(fd, request, compose(request, type, tx, text, length));
}

static int take(int fd, void *to, size_t size)
{
    for (size_t got = 0; got < size;) {
        struct pollfd look = {fd, POLLIN, 0};
        ssize_t done;

        if (poll(&look, 1, 20000) != 1 || (done = read(fd, (char *)to + got, size - got)) <= 0)
            return -1;
        got += (size_t)done;
    }
    return 0;
}

/* The next message, in words. */
static struct header answer(const char *name, int fd)
{
    struct header head = {0};
    char text[4097] = "";

    if (take(fd, &head, sizeof(head)) || take(fd, text, head.length))
        printf("%s nothing\n", name);
    else {
        for (uint32_t i = 0; i + 1 < head.length; i++)
            if (!text[i])
                text[i] = '|';
        printf("%s %u/%u %s\n", name, head.type, head.request, text);
    }
    fflush(stdout);
    return head;
}

static int node(void)
{
    int fd = open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        perror("/dev/xen/xenbus"), exit(1);
    return fd;
}

/* Case: more than the device holds, in one write or behind a header that promises it. */
static void too_long(void)
{
    int fd = node();
    struct header head = {WRITE, 1, 0, 5000};

    TRY("long.header", write(fd, &head, sizeof(head)));
    TRY("long.body", write(fd, buffer, 5000));
    TRY("long.next", ask(fd, READ, 0, "name", 5));
    answer("long.answer", fd);
    TRY("long.partial", write(fd, &head, 10));
    TRY("long.then-too-much", write(fd, buffer, 4087));
    TRY("long.next", ask(fd, READ, 0, "name", 5));
    answer("long.answer", fd);
    TRY("long.wild-too-much", write(fd, wild, 5000));
    TRY("long.wild", write(fd, wild, 20));
    TRY("long.nothing", write(fd, wild, 0));
    TRY("long.next", ask(fd, READ, 0, "name", 5));
    answer("long.answer", fd);
    /* The longest there may be: a page with its header. */
    memset(buffer, 'x', 4080);
    memcpy(buffer, "data/w", 7);
    TRY("long.most", ask(fd, WRITE, 0, buffer, 4080));
    answer("long.most-answer", fd);
    close(fd);
}

static void pieces(void)
{
    int fd = node();
    char request[64], two[128];
    size_t size = compose(request, READ, 0, "domid", 6), both;
    struct iovec parts[2] = {{request, 16}, {request + 16, size - 16}};

    for (size_t i = 0; i < size; i++)
        if (write(fd, request + i, 1) != 1)
            perror("one byte");
    answer("pieces.bytes", fd);
    TRY("pieces.header", write(fd, request, 16));
    TRY("pieces.body", write(fd, request + 16, size - 16));
    answer("pieces.answer", fd);
    TRY("pieces.writev", writev(fd, parts, 2));
    answer("pieces.writev-answer", fd);
    /* What is behind a whole request in the same write is dropped. */
    memcpy(two, request, size);
    both = size + compose(two + size, READ, 0, "name", 5);
    TRY("pieces.two-in-one", write(fd, two, both));
    answer("pieces.first", fd);
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    usleep(20000);
    TRY("pieces.second", read(fd, buffer, 16));
    TRY("pieces.next", ask(fd, READ, 0, "name", 5));
    answer("pieces.next-answer", fd);
    /* Two answers are one stream, and a read takes as much of it as it likes. */
    ask(fd, READ, 0, "domid", 6);
    ask(fd, READ, 0, "domid", 6);
    usleep(50000);
    TRY("pieces.read-3", read(fd, buffer, 3));
    TRY("pieces.read-rest", read(fd, buffer, sizeof(buffer)));
    TRY("pieces.read-empty", read(fd, buffer, 1));
    TRY("pieces.read-wild", (ask(fd, READ, 0, "domid", 6), usleep(20000), read(fd, wild, 4)));
    answer("pieces.still-there", fd);
    close(fd);
}

static void shared(void)
{
    int fd = node(), other = node(), copy = dup(fd);
    struct header head = {READ, 9, 0, 6};
    pid_t pid;

    TRY("shared.header", write(fd, &head, sizeof(head)));
    pid = fork();
    if (pid == 0)
        _exit(write(copy, "domid", 6) == 6 ? 0 : 1);
    waitpid(pid, NULL, 0);
    answer("shared.by-a-child", copy);
    TRY("shared.close", close(fd));
    TRY("shared.by-the-copy", ask(copy, READ, 0, "domid", 6));
    answer("shared.answer", copy);
    /* Another open file has a buffer and transactions of its own. */
    write(copy, &head, sizeof(head));
    TRY("shared.other", ask(other, READ, 0, "domid", 6));
    answer("shared.other-answer", other);
    write(copy, "domid", 6);
    answer("shared.its-own", copy);
    close(copy), close(other);
}

static void watches(void)
{
    int fd = node(), other = node();

    TRY("watch.set", ask(fd, WATCH, 0, "data/w\0t", 9));
    answer("watch.ok", fd);
    answer("watch.first", fd);
    TRY("watch.twice", ask(fd, WATCH, 0, "data/w\0t", 9));
    answer("watch.twice-ok", fd);
    answer("watch.twice-first", fd);
    ask(other, WRITE, 0, "data/w\0v", 8);
    answer("watch.written", other);
    answer("watch.event", fd);
    answer("watch.event", fd);
    TRY("watch.off", ask(fd, UNWATCH, 0, "data/w\0t", 9));
    answer("watch.off-ok", fd);
    TRY("watch.off-bad-token", ask(fd, UNWATCH, 0, "data/w\0u", 9));
    answer("watch.off-bad-token-ok", fd);
    TRY("watch.bad-path", ask(fd, WATCH, 0, "a//b\0t", 7));
    TRY("watch.no-token", ask(fd, WATCH, 0, "data/w", 7));
    answer("watch.no-token", fd);
    close(fd), close(other);
}

static void transactions(void)
{
    int fd = node(), other = node();
    struct header head;
    char text[16];
    uint32_t tx;

    ask(fd, START, 0, "", 1);
    take(fd, &head, sizeof(head)), take(fd, text, head.length);
    tx = (uint32_t)atoi(text);
    ask(fd, WRITE, tx, "data/t\0one", 10);
    answer("tx.write", fd);
    ask(other, END, tx, "T", 2);
    answer("tx.of-another", other);
    ask(fd, END, tx, "X", 2);
    answer("tx.no-end", fd);
    ask(fd, END, tx, "T", 2);
    answer("tx.end", fd);
    ask(other, READ, 0, "data/t", 7);
    answer("tx.done", other);
    ask(fd, READ, tx, "data/t", 7);
    answer("tx.over", fd);
    close(fd), close(other);
}

static void device(void)
{
    int fd = node(), set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd look = {fd, POLLIN, 0};
    struct stat info;

    TRY("device.ioctl", ioctl(fd, 0x5401, wild));
    TRY("device.lseek", lseek(fd, 0, SEEK_SET));
    TRY("device.pread", pread(fd, buffer, 4, 0));
    TRY("device.mmap", mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    TRY("device.poll", poll(&look, 1, 0));
    TRY("device.epoll", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    ask(fd, READ, 0, "domid", 6);
    TRY("device.epoll-wait", epoll_wait(set, &event, 1, 20000));
    TRY("device.poll-ready", poll(&look, 1, 0));
    answer("device.answer", fd);
    TRY("device.is-a-device", fstat(fd, &info) ? -1 : S_ISCHR(info.st_mode) != 0);
    close(fd);
}

int main(int argc, char **argv)
{
    (void)argv;
    too_long();
    pieces();
    shared();
    watches();
    transactions();
    device();
    printf("done 0\n");
    fflush(stdout);
    if (argc > 1)
        pause();    /* a domain lives as long as its program */
    return 0;
}
