/*
 * A preloaded library that stands in for Xen's device nodes.
 *
 * It takes what a program does with the files of /dev/xen and /proc/xen and passes it on to the
 * process that started the program (hvsim/devnodes, which has the rules).  A node's descriptor is a socket
 * that came from there; its cookie (SO_COOKIE) says which open file it is, however it was
 * duplicated, inherited or passed on.  So close and poll of a node need nothing.
 *
 *   wire.c       the connection of this process, and one request over it
 *   files.c      which descriptors may be of a node; dup and its kind
 *   areas.c      what was mapped through a node, and where
 *   calls.c      ioctl, mmap, munmap, mremap
 *   data.c       read, write and their kind
 *   paths.c      the paths of nodes and of /proc/xen, and how they are opened
 *   status.c     what stat and access say of them, and of a node's descriptor
 *   hidden.c     close, which leaves the library's own descriptors alone
 *   place.c      the lab's own /var/lib/xen and the like, for programs of dom0
 *
 * Between take() and give_back() signals are blocked and a lock is held, as inside a system call;
 * nothing there allocates memory or calls what a program may have replaced.
 */
#ifndef HVSIM_NODES_H
#define HVSIM_NODES_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define PAGE 4096UL
#define MAX_FDS 240  /* of one answer */
#define MAX_ROWS 4096
#define NO_PAGE 0xffffffffU

/* ---- the wire: the same as hvsim/devnodes/wire.py ---- */

enum op { OP_OPEN = 1, OP_FIND, OP_IOCTL, OP_MMAP, OP_PAGES, OP_MUNMAP, OP_PROC, OP_WRITE };
enum kind { EVTCHN = 1, GNTDEV, GNTALLOC, PRIVCMD, XENBUS };
enum { BAD_ARGUMENT = 1 };

struct request {
    uint32_t op, flags;
    uint64_t file, a, b, c, d;
};

struct reply {
    int64_t result;
    uint64_t area, address, count;
};

struct row {
    uint32_t fd, page;
};

/* What came with a reply. */
struct answer {
    struct reply reply;
    size_t size; /* bytes behind it */
    int count;   /* descriptors */
    int fds[MAX_FDS];
};

/* A saved signal mask: what a critical section gives back. */
struct held {
    unsigned long mask;
};

void take(struct held *held);
void give_back(const struct held *held);

/* Whether this process has a door at all; without one every path is the machine's own. */
int has_door(void);

/*
 * Make one request: `in` goes behind it, `out` takes what comes behind the reply.  Both may be any
 * address of the program: one where nothing is makes it -EFAULT.  Returns the reply's result or a
 * negative errno.
 */
int64_t ask(const struct request *request, const void *in, size_t in_size, void *out,
            size_t out_size, struct answer *answer);
void close_all(const struct answer *answer);

/* Which open file of a node a descriptor is (0: of none), and of which node. */
uint64_t file_of(int fd, enum kind *kind);
/* Whether a socket was made by the process that stands for our kernel. */
int from_our_kernel(int fd);
/* Something says that it has gone: end with it, if so. */
void check_kernel(void);
/* Remember one that has come. */
void know(uint64_t file, enum kind kind);

/* ---- files.c ---- */

/* A descriptor may be of a node from now on; only such ones are looked at by read and write. */
void mark(int fd);
int is_marked(int fd);
void mark_inherited(void);

/* Descriptors that a program may not close: the door, and this process's connection. */
int is_hidden(int fd);
/* The first of them from a number on, or -1. */
int next_hidden(int from);
/* -1 and EBADF. */
int refused(void);

/* ---- areas ---- */

struct area {
    uintptr_t start;
    uint64_t pages, number, file, offset;
    int prot, inherited;
};

/* Lay the pages of an area over addresses.  Returns 0 or a negative errno. */
int lay(uint64_t area, uintptr_t start, uint64_t pages, int prot);
int remember(const struct area *area);
/* Addresses are mapped no more, or mapped anew. */
void forget(uintptr_t start, size_t size);
int any_area(uintptr_t start, size_t size);
/* In a child: only what children inherit is mapped there; tell the other side. */
void areas_after_fork(void);

/* ---- paths ---- */

/* What a path is, and which one of its kind. */
enum what { NOT_OURS, MISSING, DIRECTORY, NODE, PROC };
enum what look(const char *path, int *which);

/* Where a path of the machine lies for a program of dom0: as it is, or written into `buffer`. */
#define PLACED_MAX 4096
const char *placed(const char *path, char buffer[PLACED_MAX]);
#define PLACE(there, path)                                                                         \
    char there##_buffer[PLACED_MAX];                                                               \
    const char *there = placed(path, there##_buffer)

/* ---- raw system calls: no cancellation point, no other library between ---- */

long raw(long number, long a, long b, long c, long d, long e, long f);
#define RAW1(n, a) raw(n, (long)(a), 0, 0, 0, 0, 0)
#define RAW2(n, a, b) raw(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define RAW3(n, a, b, c) raw(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define RAW6(n, a, b, c, d, e, f) raw(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
