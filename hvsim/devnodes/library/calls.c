/*
 * ioctl, mmap, munmap and mremap.
 *
 * Of an ioctl's argument the kernel itself copies what its number says (sendmsg takes it from the
 * program's address, recvmsg puts the answer back), so a wild pointer is EFAULT here as there.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVTCHN_RESET _IOC(_IOC_NONE, 'E', 5, 0)

/* A kernel's result as the C library's: errno and -1. */
static long result(long value)
{
    if (value >= 0 || value < -4095)
        return value;
    errno = (int)-value;
    return -1;
}

/* What the kernel answers for every file, whatever its driver (linux fs/ioctl.c). */
static int is_common(unsigned int command)
{
    return command == FIOCLEX || command == FIONCLEX || command == FIONBIO || command == FIOASYNC;
}

/* Drop the events that a program has not read. */
static void drain(int fd)
{
    uint32_t port;
    struct iovec part = {&port, sizeof(port)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    while (RAW3(SYS_recvmsg, fd, &message, MSG_DONTWAIT) > 0)
        ;
}

static long node_ioctl(int fd, uint64_t file, enum kind kind, unsigned int command, void *argument)
{
    static struct answer answer;
    struct request request = {.op = OP_IOCTL, .file = file, .a = command,
                              .b = (uint64_t)(uintptr_t)argument};
    size_t size = _IOC_SIZE(command);
    struct held held;
    int64_t done;

    take(&held);
    done = ask(&request, argument, size, argument, size, &answer);
    if (answer.count)
        close_all(&answer);
    if (answer.reply.area && kind == PRIVCMD) { /* MMAPBATCH: frames for addresses of before */
        struct area area = {.start = answer.reply.address, .pages = answer.reply.count,
                            .number = answer.reply.area, .file = file,
                            .prot = PROT_READ | PROT_WRITE};
        int error = lay(area.number, area.start, area.pages, area.prot);

        if (error == -EPERM || error == -EACCES) /* read-only extents among them */
            error = lay(area.number, area.start, area.pages, PROT_READ);
        if (!error)
            error = remember(&area);
        if (error && done >= 0)
            done = error;
        RAW3(SYS_madvise, area.start, area.pages * PAGE, MADV_DONTFORK);
    }
    give_back(&held);
    if (done == 0 && kind == EVTCHN && command == EVTCHN_RESET)
        drain(fd);
    return (long)done;
}

EXPORT int ioctl(int fd, unsigned long command, ...)
{
    va_list arguments;
    void *argument;
    enum kind kind;
    uint64_t file;

    va_start(arguments, command);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    file = is_common((unsigned int)command) ? 0 : file_of(fd, &kind);
    if (!file)
        return (int)result(RAW3(SYS_ioctl, fd, command, argument));
    return (int)result(node_ioctl(fd, file, kind, (unsigned int)command, argument));
}

/* Addresses that fault until something is laid over them, as those of a privcmd mapping do. */
static long set_aside(void *address, size_t size, int flags, enum kind kind)
{
    int kept = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT);
    long at = RAW6(SYS_mmap, address, size, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | kept, -1, 0);

    if (kind == PRIVCMD && (at >= 0 || at < -4095)) {
        long empty = RAW2(SYS_memfd_create, "privcmd", MFD_CLOEXEC);

        if (empty >= 0) { /* SIGBUS, not SIGSEGV; without one it is the other */
            RAW6(SYS_mmap, at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty, 0);
            RAW1(SYS_close, empty);
        }
    }
    return at;
}

static long node_mmap(void *address, size_t length, int prot, int flags, uint64_t file,
                      enum kind kind, off_t offset)
{
    static struct answer answer;
    size_t size = (length + PAGE - 1) & ~(PAGE - 1);
    int shared = (flags & MAP_TYPE) != MAP_PRIVATE;
    struct request request = {.op = OP_MMAP, .file = file, .b = size, .c = (uint64_t)prot,
                              .d = (uint64_t)offset};
    struct area area = {.file = file, .offset = (uint64_t)offset, .prot = prot,
                        .inherited = kind == GNTALLOC};
    struct held held;
    int64_t done;
    long at;

    if (!length || offset & (PAGE - 1))
        return -EINVAL;
    if (size < length || size > 1UL << 46)
        return -ENOMEM;
    if (kind == EVTCHN || kind == XENBUS)
        return -ENODEV;
    if (!shared && (kind == GNTALLOC || prot & PROT_WRITE))
        return -EINVAL;
    take(&held);
    at = set_aside(address, size, flags, kind);
    if (at < 0 && at >= -4095) {
        give_back(&held);
        return at;
    }
    if (flags & MAP_FIXED)
        forget((uintptr_t)at, size);
    request.a = area.start = (uintptr_t)at;
    done = ask(&request, NULL, 0, NULL, 0, &answer);
    if (done >= 0) {
        area.number = answer.reply.area;
        area.pages = answer.reply.count;
        if (kind != PRIVCMD)
            done = lay(area.number, area.start, area.pages, prot);
        if (done >= 0)
            done = remember(&area);
        if (kind != GNTALLOC) /* as a PV kernel has it: a child does not see them */
            RAW3(SYS_madvise, at, size, MADV_DONTFORK);
        if (done < 0) {
            struct request undo = {.op = OP_MUNMAP, .a = area.number, .c = area.pages};

            RAW2(SYS_munmap, at, size);
            ask(&undo, NULL, 0, NULL, 0, &answer);
        }
    } else {
        RAW2(SYS_munmap, at, size);
    }
    give_back(&held);
    return done < 0 ? (long)done : at;
}

static void *map(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
    enum kind kind;
    uint64_t file = flags & MAP_ANONYMOUS || fd < 0 ? 0 : file_of(fd, &kind);
    struct held held;
    long at;

    if (file)
        return (void *)result(node_mmap(address, length, prot, flags, file, kind, offset));
    at = RAW6(SYS_mmap, address, length, prot, flags, fd, offset);
    if (flags & MAP_FIXED && (at >= 0 || at < -4095) && has_door()) {
        take(&held);
        if (any_area((uintptr_t)at, length))
            forget((uintptr_t)at, length);
        give_back(&held);
    }
    return (void *)result(at);
}

EXPORT void *mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
    return map(address, length, prot, flags, fd, offset);
}

EXPORT void *mmap64(void *address, size_t length, int prot, int flags, int fd, off64_t offset)
{
    return map(address, length, prot, flags, fd, offset);
}

EXPORT int munmap(void *address, size_t length)
{
    long done = RAW2(SYS_munmap, address, length);
    struct held held;

    if (done == 0 && has_door()) {
        take(&held);
        if (any_area((uintptr_t)address, length))
            forget((uintptr_t)address, length);
        give_back(&held);
    }
    return (int)result(done);
}

/* Granted pages stay where they are and as many as they are (VM_DONTEXPAND). */
EXPORT void *mremap(void *address, size_t old_size, size_t new_size, int flags, ...)
{
    void *wanted = NULL;
    struct held held;
    int ours = 0;

    if (flags & MREMAP_FIXED) {
        va_list arguments;

        va_start(arguments, flags);
        wanted = va_arg(arguments, void *);
        va_end(arguments);
    }
    if (has_door()) {
        take(&held);
        ours = any_area((uintptr_t)address, old_size ? old_size : 1)
               || (wanted && any_area((uintptr_t)wanted, new_size));
        give_back(&held);
    }
    if (ours) {
        errno = EFAULT;
        return MAP_FAILED;
    }
    return (void *)result(RAW6(SYS_mremap, address, old_size, new_size, flags, wanted, 0));
}
