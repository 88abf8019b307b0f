/*
 * The connection of this process to the one that stands for its kernel.
 *
 * Each process has its own: a pair of sockets, of which one end is sent through the door that the
 * program inherited (HVSIM_DOOR).  A child notices that it is one by a page that the kernel wipes
 * at fork, also where it was made by clone(2) behind the C library's back.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KNOWN 256
#define HIGH 201 /* hidden descriptors lie from here on, where there is room */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int door = -2;   /* -2: not looked for yet; -1: there is none */
static int wire = -1;   /* our end, or after a fork the parent's, to be closed */
static int *attached;   /* in the wiped page: whether `wire` is this process's own */
static int ever;        /* a wire was had, by this process or one that it was forked from */
static struct {
    uint64_t file;
    enum kind kind;
} known[KNOWN];
static unsigned next_known;

/* A system call as it is: the result, or a negative errno. */
long raw(long number, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long result = syscall(number, a, b, c, d, e, f);

    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}

void take(struct held *held)
{
    unsigned long all = ~0UL;

    RAW6(SYS_rt_sigprocmask, SIG_SETMASK, &all, &held->mask, sizeof(all), 0, 0);
    pthread_mutex_lock(&lock);
}

void give_back(const struct held *held)
{
    pthread_mutex_unlock(&lock);
    RAW6(SYS_rt_sigprocmask, SIG_SETMASK, &held->mask, NULL, sizeof(held->mask), 0, 0);
}

int has_door(void)
{
    if (door == -2) {
        const char *text = getenv("HVSIM_DOOR");
        char *end = NULL;
        long number = text ? strtol(text, &end, 10) : -1;

        door = text && end != text && !*end && number >= 0 && number < 1 << 20 ? (int)number : -1;
    }
    return door >= 0;
}

int is_hidden(int fd)
{
    return fd >= 0 && ((fd == wire && attached && *attached) || (fd == door && has_door()));
}

int next_hidden(int from)
{
    int first = is_hidden(door) && door >= from ? door : -1;

    return is_hidden(wire) && wire >= from && (first < 0 || wire < first) ? wire : first;
}

/* The pid of who made a socket pair; 0 where the kernel does not say. */
static pid_t maker(int fd)
{
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);

    return RAW6(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size, 0) < 0 ? 0 : peer.pid;
}

/* Let the other side read our memory where only a debugger may (Yama). */
static void allow_reading(void)
{
    pid_t kernel = maker(door);

    if (kernel > 0)
        RAW6(SYS_prctl, PR_SET_PTRACER, kernel, 0, 0, 0, 0);
}

/* Whether that errno of a send through the door says that nobody is behind it. */
static int hung_up(int error)
{
    return error == -EPIPE || error == -ECONNRESET || error == -ECONNREFUSED || error == -ENOTCONN
           || error == -EBADF || error == -ENOTSOCK;
}

/* Send one end of a pair through the door.  Returns 0 or a negative errno. */
static int attach(void)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = "A", .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    int pair[2];
    long done;

    if (!has_door())
        return -ENXIO;
    if (!attached) {
        long page = RAW6(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                         -1, 0);
        if (page < 0 && page > -(long)PAGE)
            return (int)page;
        RAW3(SYS_madvise, page, PAGE, MADV_WIPEONFORK);
        attached = (int *)page;
    }
    if (wire >= 0) { /* a copy of the parent's, which must not outlive it here */
        RAW1(SYS_close, wire);
        wire = -1;
    }
    done = RAW6(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair, 0, 0);
    if (done < 0)
        return (int)done;
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &pair[1], sizeof(int));
    do
        done = RAW3(SYS_sendmsg, door, &message, MSG_NOSIGNAL);
    while (done == -EINTR);
    RAW1(SYS_close, pair[1]);
    if (done < 0) {
        RAW1(SYS_close, pair[0]);
        return hung_up((int)done) ? -ENXIO : (int)done;
    }
    wire = (int)RAW3(SYS_fcntl, pair[0], F_DUPFD_CLOEXEC, HIGH);
    if (wire < 0)
        wire = pair[0];
    else
        RAW1(SYS_close, pair[0]);
    *attached = ever = 1;
    allow_reading();
    return 0;
}

void close_all(const struct answer *answer)
{
    for (int i = 0; i < answer->count; i++)
        RAW1(SYS_close, answer->fds[i]);
}

/* Take the descriptors of a message into an answer; what finds no place is closed. */
static void adopt(struct msghdr *message, struct answer *answer)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(int));
            if (answer->count < MAX_FDS)
                answer->fds[answer->count++] = fd;
            else
                RAW1(SYS_close, fd);
        }
    }
}

/*
 * The door has gone as well: the kernel below us is dead, and nothing of us may outlive it.  Not
 * for a moment: a backend that went on with calls that fail would tell its frontends of errors
 * that no disk has made.
 */
static void die(void)
{
    RAW3(SYS_kill, RAW1(SYS_getpid, 0), SIGKILL, 0);
}

/* Whether somebody behind the door answers on a new wire: one that dies closes its sockets one
 * after another, the door perhaps last. */
static int kernel_lives(void)
{
    struct request request = {.op = OP_FIND};
    struct reply reply;
    int attached_now = attach();
    long done;

    if (attached_now < 0)
        return attached_now != -ENXIO;
    do
        done = RAW6(SYS_sendto, wire, &request, sizeof(request), MSG_NOSIGNAL, 0, 0);
    while (done == -EINTR);
    if (done >= 0)
        do
            done = RAW6(SYS_recvfrom, wire, &reply, sizeof(reply), 0, 0, 0);
        while (done == -EINTR);
    return done >= (long)sizeof(reply);
}

int64_t ask(const struct request *request, const void *in, size_t in_size, void *out,
            size_t out_size, struct answer *answer)
{
    static char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
    struct request again = *request;
    struct iovec to[2] = {{(void *)&again, sizeof(again)}, {(void *)in, in_size}};
    struct iovec from[2] = {{&answer->reply, sizeof(answer->reply)}, {out, out_size}};
    struct msghdr message = {.msg_iov = to, .msg_iovlen = in_size ? 2 : 1};
    long done;

    answer->reply = (struct reply){0};
    answer->count = 0;
    answer->size = 0;
    if (!attached || !*attached) {
        done = attach();
        if (done == -ENXIO && ever)
            die();
        if (done < 0)
            return done;
    }
    do
        done = RAW3(SYS_sendmsg, wire, &message, MSG_NOSIGNAL);
    while (done == -EINTR);
    if (done == -EFAULT) { /* the argument; whether that matters is the other side's to say */
        again.flags |= BAD_ARGUMENT;
        message.msg_iovlen = 1;
        do
            done = RAW3(SYS_sendmsg, wire, &message, MSG_NOSIGNAL);
        while (done == -EINTR);
    }
    if (done >= 0) {
        message = (struct msghdr){.msg_iov = from, .msg_iovlen = out_size ? 2 : 1,
                                  .msg_control = control, .msg_controllen = sizeof(control)};
        do
            done = RAW3(SYS_recvmsg, wire, &message, MSG_CMSG_CLOEXEC);
        while (done == -EINTR);
    }
    if (done == -EFAULT)
        return -EFAULT; /* the result, whose addresses cannot be written */
    if (done < (long)sizeof(answer->reply)) {
        *attached = 0; /* it has gone, or thinks that we broke the rules */
        if (!kernel_lives())
            die();
        return -EIO;
    }
    adopt(&message, answer);
    answer->size = (size_t)done - sizeof(answer->reply);
    if (message.msg_flags & MSG_CTRUNC) {
        close_all(answer);
        return -EMFILE;
    }
    return answer->reply.result;
}

void check_kernel(void)
{
    static struct answer answer;
    struct request request = {.op = OP_FIND};
    struct held held;

    take(&held);
    ask(&request, NULL, 0, NULL, 0, &answer); /* which ends us, if nobody is there */
    give_back(&held);
}

/* Entries are read without the lock: one is complete when its number is there. */
void know(uint64_t file, enum kind kind)
{
    unsigned at = next_known++ % KNOWN;

    __atomic_store_n(&known[at].file, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&known[at].kind, kind, __ATOMIC_RELEASE);
    __atomic_store_n(&known[at].file, file, __ATOMIC_RELEASE);
}

static int is_known(uint64_t file, enum kind *kind)
{
    for (unsigned i = 0; i < KNOWN; i++)
        if (__atomic_load_n(&known[i].file, __ATOMIC_ACQUIRE) == file) {
            *kind = __atomic_load_n(&known[i].kind, __ATOMIC_ACQUIRE);
            return __atomic_load_n(&known[i].file, __ATOMIC_RELAXED) == file;
        }
    return 0;
}

int from_our_kernel(int fd)
{
    static pid_t kernel;
    pid_t by = maker(fd);

    if (!kernel)
        kernel = maker(door);
    return by && by == kernel && !is_hidden(fd);
}

uint64_t file_of(int fd, enum kind *kind)
{
    static struct answer answer;
    struct request request = {.op = OP_FIND};
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    struct held held;
    int64_t found;

    if (!has_door()
        || RAW6(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &size, 0) < 0)
        return 0;
    if (is_known(cookie, kind))
        return cookie;
    if (!from_our_kernel(fd))
        return 0;
    take(&held);
    request.file = cookie;
    found = ask(&request, NULL, 0, NULL, 0, &answer);
    if (found > 0) {
        *kind = (enum kind)found;
        know(cookie, *kind);
    }
    give_back(&held);
    return found > 0 ? cookie : 0;
}

/* ---- fork: the lock is free in the child, which asks for a connection of its own at once, so that
 * the parent's ends with the parent ---- */

static struct held forking;

static void before_fork(void)
{
    struct held held;

    take(&held);
    forking = held;
}

static void after_fork_parent(void)
{
    struct held held = forking;

    give_back(&held);
}

static void after_fork_child(void)
{
    struct held held = forking;

    pthread_mutex_init(&lock, NULL);
    pthread_mutex_lock(&lock);
    if (wire >= 0 && attached && !*attached) {
        attach();
        areas_after_fork();
    }
    give_back(&held);
}

__attribute__((constructor)) static void start(void)
{
    has_door();
    mark_inherited();
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}
