/*
 * A program that uses the nodes badly, one attempt a line: "name result", where the result is the
 * name of an errno, "signal N" of a child, or a number.
 *
 *     baduse PEER GOOD RO ALIEN PORT     domid; references of it: writable, read-only, for another
 *                                        domain; a port of it that waits for another domain
 *     baduse hold PEER GOOD PORT PORT    hold a page of the peer and one for it, until killed
 *     baduse scatter PEER REF...         map these together, and hold all but the second
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
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
#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/sysctl.h>
#include <xen/version.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntalloc.h>
#include <xen/sys/gntdev.h>
#include <xen/sys/privcmd.h>

#include "attempts.h"

#define PAGE 4096
#define WILD ((void *)0x10)
#define RW (PROT_READ | PROT_WRITE)

static unsigned peer, good, readonly, alien, port;

static int node(const char *name)
{
    char path[40];
    int fd;

    snprintf(path, sizeof(path), "/dev/xen/%s", name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        perror(path), exit(1);
    return fd;
}

static long map(int fd, unsigned domid, unsigned ref, uint64_t *index)
{
    struct ioctl_gntdev_map_grant_ref arg = {.count = 1, .refs = {{domid, ref}}};
    long done = ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &arg);

    *index = arg.index;
    return done;
}

static long mapped(void *at) { return at == MAP_FAILED ? -1 : 0; }

/* Whether reading an address ends a child, and how. */
static void touch(const char *name, volatile char *at)
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

static void evtchn(void)
{
    int fd = node("evtchn"), other = node("evtchn");
    struct ioctl_evtchn_bind_virq virq = {9999};
    struct ioctl_evtchn_bind_interdomain inter = {4242, 1};
    struct ioctl_evtchn_bind_unbound_port unbound = {peer};
    struct ioctl_evtchn_unbind unbind = {3999};
    struct ioctl_evtchn_notify notify = {3999};
    struct ioctl_evtchn_restrict_domid restrict_to = {0};
    uint32_t ports[] = {0xffffffff, 7, 3999}, one;
    int mine;

    TRY("evtchn.unknown", ioctl(fd, _IOC(_IOC_NONE, 'E', 99, 0), 0));
    TRY("evtchn.unknown-wild", ioctl(fd, _IOC(_IOC_NONE, 'E', 99, 8), WILD));
    TRY("evtchn.tcgets", ioctl(fd, 0x5401, WILD));
    TRY("evtchn.virq-null", ioctl(fd, IOCTL_EVTCHN_BIND_VIRQ, NULL));
    TRY("evtchn.virq-none", ioctl(fd, IOCTL_EVTCHN_BIND_VIRQ, &virq));
    virq.virq = 3; /* VIRQ_DOM_EXC */
    TRY("evtchn.virq-of-dom0", ioctl(fd, IOCTL_EVTCHN_BIND_VIRQ, &virq));
    TRY("evtchn.no-domain", ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &inter));
    inter.remote_domain = peer;
    inter.remote_port = port;
    TRY("evtchn.port-of-another", ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &inter));
    TRY("evtchn.inter-wild", ioctl(fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, WILD));
    TRY("evtchn.unbind-not-bound", ioctl(fd, IOCTL_EVTCHN_UNBIND, &unbind));
    unbind.port = 5000000;
    TRY("evtchn.unbind-no-port", ioctl(fd, IOCTL_EVTCHN_UNBIND, &unbind));
    TRY("evtchn.notify-not-bound", ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify));
    TRY("evtchn.notify-wild", ioctl(fd, IOCTL_EVTCHN_NOTIFY, WILD));
    mine = ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
    notify.port = unbind.port = mine;
    TRY("evtchn.notify-own", ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify));
    TRY("evtchn.notify-of-other-file", ioctl(other, IOCTL_EVTCHN_NOTIFY, &notify));
    TRY("evtchn.unbind-of-other-file", ioctl(other, IOCTL_EVTCHN_UNBIND, &unbind));
    TRY("evtchn.write-nonsense", write(fd, ports, sizeof(ports)));
    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    TRY("evtchn.read-nothing", read(fd, &one, sizeof(one)));
    TRY("evtchn.unbind-own", ioctl(fd, IOCTL_EVTCHN_UNBIND, &unbind));
    TRY("evtchn.unbind-twice", ioctl(fd, IOCTL_EVTCHN_UNBIND, &unbind));
    TRY("evtchn.mmap", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0)));
    TRY("evtchn.lseek", lseek(fd, 0, SEEK_SET));
    TRY("evtchn.reset", ioctl(fd, IOCTL_EVTCHN_RESET, NULL));
    TRY("evtchn.restrict-0", ioctl(fd, IOCTL_EVTCHN_RESTRICT_DOMID, &restrict_to));
    restrict_to.domid = peer;
    TRY("evtchn.restrict", ioctl(fd, IOCTL_EVTCHN_RESTRICT_DOMID, &restrict_to));
    TRY("evtchn.restrict-again", ioctl(fd, IOCTL_EVTCHN_RESTRICT_DOMID, &restrict_to));
    unbound.remote_domain = 0;
    TRY("evtchn.restricted-bind", ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound));
    virq.virq = 0;
    TRY("evtchn.restricted-virq", ioctl(fd, IOCTL_EVTCHN_BIND_VIRQ, &virq));
    close(other);
    TRY("evtchn.closed", ioctl(other, IOCTL_EVTCHN_RESET, NULL));
    close(fd);
}

/* An argument of which only the first `size` bytes lie in memory. */
static void *at_the_end(const void *data, size_t size)
{
    char *two = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    munmap(two + PAGE, PAGE);
    return memcpy(two + PAGE - size, data, size);
}

static void gntdev(void)
{
    int fd = node("gntdev"), copied;
    struct ioctl_gntdev_map_grant_ref many = {.count = 0};
    struct ioctl_gntdev_unmap_grant_ref unmap = {.index = 77 * PAGE, .count = 1};
    struct ioctl_gntdev_get_offset_for_vaddr offset = {.vaddr = (uintptr_t)&fd};
    struct ioctl_gntdev_unmap_notify notify = {.action = 4};
    struct ioctl_gntdev_set_max_grants most = {1};
    struct ioctl_gntdev_grant_copy_segment segment = {0};
    struct ioctl_gntdev_grant_copy copy = {1, WILD};
    char buffer[PAGE];
    uint64_t index;
    char *at, *again;

    TRY("gntdev.unknown", ioctl(fd, _IOC(_IOC_NONE, 'G', 99, 8), WILD));
    TRY("gntdev.set-max", ioctl(fd, IOCTL_GNTDEV_SET_MAX_GRANTS, &most));
    TRY("gntdev.map-null", ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, NULL));
    TRY("gntdev.map-0", ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &many));
    many.count = 0xffffffff;
    TRY("gntdev.map-huge", ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &many));
    many.count = 1000;
    TRY("gntdev.map-beyond-memory",
        ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, at_the_end(&many, sizeof(many))));

    TRY("gntdev.map-alien", map(fd, peer, alien, &index));
    TRY("gntdev.mmap-alien", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index)));
    TRY("gntdev.map-no-domain", map(fd, 4242, 8, &index));
    TRY("gntdev.mmap-no-domain", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index)));
    TRY("gntdev.map-no-ref", map(fd, peer, 0x7fffffff, &index));
    TRY("gntdev.mmap-no-ref", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index)));
    TRY("gntdev.map-readonly", map(fd, peer, readonly, &index));
    TRY("gntdev.mmap-readonly-for-writing", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index)));
    map(fd, peer, readonly, &index);
    at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, index);
    TRY("gntdev.mmap-readonly", mapped(at));
    TRY("gntdev.mprotect-readonly", mprotect(at, PAGE, RW));
    notify.index = index;
    notify.action = UNMAP_NOTIFY_CLEAR_BYTE;
    TRY("gntdev.clear-byte-of-readonly", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify));
    munmap(at, PAGE);

    map(fd, peer, good, &index);
    TRY("gntdev.mmap-private", mapped(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, index)));
    TRY("gntdev.mmap-misaligned", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index + 8)));
    TRY("gntdev.mmap-longer", mapped(mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, index)));
    TRY("gntdev.mmap-nothing", mapped(mmap(NULL, 0, RW, MAP_SHARED, fd, index)));
    TRY("gntdev.mmap-elsewhere", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 999 * PAGE)));
    TRY("gntdev.mmap-far-away", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, -PAGE)));
    at = mmap(NULL, PAGE, RW, MAP_SHARED, fd, index);
    TRY("gntdev.mmap", mapped(at));
    TRY("gntdev.mmap-twice", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index)));
    TRY("gntdev.sees", strcmp(at, "victim"));
    TRY("gntdev.grow", mapped(mremap(at, PAGE, 2 * PAGE, MREMAP_MAYMOVE)));
    touch("gntdev.touched-by-a-child", at);

    TRY("gntdev.offset-of-nothing", ioctl(fd, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &offset));
    TRY("gntdev.offset-wild", ioctl(fd, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, WILD));
    offset.vaddr = (uintptr_t)at;
    TRY("gntdev.offset", ioctl(fd, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &offset));
    TRY("gntdev.offset-is", offset.offset == index && offset.count == 1);

    notify.index = index;
    notify.action = 4;
    TRY("gntdev.notify-action", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify));
    notify.action = UNMAP_NOTIFY_SEND_EVENT;
    notify.event_channel_port = 3999;
    TRY("gntdev.notify-port", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify));
    notify.action = UNMAP_NOTIFY_CLEAR_BYTE;
    notify.index = 999 * PAGE;
    TRY("gntdev.notify-elsewhere", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify));
    TRY("gntdev.notify-wild", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, WILD));

    TRY("gntdev.unmap-nothing", ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap));
    unmap.index = index;
    unmap.count = 2;
    TRY("gntdev.unmap-more", ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap));
    unmap.count = 1;
    TRY("gntdev.unmap-while-mapped", ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap));
    TRY("gntdev.unmap-twice", ioctl(fd, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap));
    TRY("gntdev.still-sees", strcmp(at, "victim"));
    TRY("gntdev.munmap", munmap(at, PAGE));
    TRY("gntdev.munmap-twice", munmap(at, PAGE));
    touch("gntdev.touched-after-munmap", at);

    TRY("gntdev.copy-null", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, NULL));
    TRY("gntdev.copy-wild-segments", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    copy.count = 0xffffffff;
    TRY("gntdev.copy-huge", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    copy.count = 1;
    copy.segments = &segment;
    segment.flags = GNTCOPY_source_gref;
    segment.source.foreign.ref = good;
    segment.source.foreign.domid = peer;
    segment.source.foreign.offset = 4000;
    segment.dest.virt = buffer;
    segment.len = 200;
    TRY("gntdev.copy-beyond-page", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    segment.source.foreign.offset = 0;
    segment.dest.virt = WILD;
    TRY("gntdev.copy-to-nowhere", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    segment.dest.virt = buffer;
    segment.source.foreign.ref = alien;
    TRY("gntdev.copy-alien", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    TRY("gntdev.copy-alien-status", 100 + segment.status);
    segment.source.foreign.ref = good;
    TRY("gntdev.copy", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    TRY("gntdev.copy-sees", strcmp(buffer, "victim"));
    segment.flags = GNTCOPY_dest_gref;
    segment.source.virt = buffer;
    segment.dest.foreign.ref = readonly;
    segment.dest.foreign.domid = peer;
    segment.dest.foreign.offset = 0;
    strcpy(buffer, "overwritten");
    TRY("gntdev.copy-to-readonly", ioctl(fd, IOCTL_GNTDEV_GRANT_COPY, &copy));
    TRY("gntdev.copy-to-readonly-status", 100 + segment.status);

    map(fd, peer, good, &index);
    at = mmap(NULL, PAGE, RW, MAP_SHARED, fd, index);
    copied = dup(fd);
    TRY("gntdev.close-while-mapped", close(fd));
    TRY("gntdev.sees-after-close", strcmp(at, "victim"));
    TRY("gntdev.ioctl-by-dup", ioctl(copied, IOCTL_GNTDEV_UNMAP_GRANT_REF, &unmap));
    close(copied);
    TRY("gntdev.sees-after-last-close", strcmp(at, "victim"));
    again = mmap(at, PAGE, RW, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY("gntdev.mapped-over", again == at && *at == 0);
}

static void gntalloc(void)
{
    int fd = node("gntalloc");
    struct {
        struct ioctl_gntalloc_alloc_gref head;
        uint32_t more[8];
    } alloc = {.head = {.domid = peer, .flags = GNTALLOC_FLAG_WRITABLE, .count = 0xffffffff}};
    struct ioctl_gntalloc_dealloc_gref dealloc = {.index = 77 * PAGE, .count = 1};
    struct ioctl_gntalloc_unmap_notify notify = {.index = 77 * PAGE};
    uint64_t index;
    char *at;

    TRY("gntalloc.unknown", ioctl(fd, _IOC(_IOC_NONE, 'G', 99, 8), WILD));
    TRY("gntalloc.null", ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, NULL));
    TRY("gntalloc.huge", ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &alloc));
    alloc.head.count = 5000;
    TRY("gntalloc.many", ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &alloc));
    alloc.head.count = 0;
    TRY("gntalloc.none", ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &alloc));
    alloc.head.count = 200;
    TRY("gntalloc.answer-beyond-memory",
        ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, at_the_end(&alloc, sizeof(alloc.head))));
    alloc.head.count = 2;
    TRY("gntalloc.two", ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, &alloc));
    index = alloc.head.index;
    TRY("gntalloc.mmap-elsewhere", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 999 * PAGE)));
    TRY("gntalloc.mmap-private", mapped(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, index)));
    TRY("gntalloc.mmap-misaligned", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index + 16)));
    TRY("gntalloc.mmap-longer", mapped(mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, index)));
    at = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, index);
    TRY("gntalloc.mmap", mapped(at));
    TRY("gntalloc.mmap-second", mapped(mmap(NULL, PAGE, RW, MAP_SHARED, fd, index + PAGE)));
    at[0] = 17;
    touch("gntalloc.touched-by-a-child", at);
    TRY("gntalloc.dealloc-elsewhere", ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &dealloc));
    TRY("gntalloc.dealloc-wild", ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, WILD));
    TRY("gntalloc.notify-elsewhere", ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify));
    notify.index = index;
    notify.action = 8;
    TRY("gntalloc.notify-action", ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify));
    notify.action = UNMAP_NOTIFY_SEND_EVENT;
    notify.event_channel_port = 3999;
    TRY("gntalloc.notify-port", ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify));
    dealloc.index = index;
    dealloc.count = 2;
    TRY("gntalloc.dealloc-while-mapped", ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &dealloc));
    TRY("gntalloc.dealloc-twice", ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &dealloc));
    TRY("gntalloc.still-there", at[0]);
    close(fd);
    TRY("gntalloc.there-after-close", at[0]);
}

static void privcmd(void)
{
    int fd = node("privcmd"), error = 0;
    privcmd_hypercall_t call = {.op = 9999};
    struct xen_domctl domctl = {.cmd = XEN_DOMCTL_getdomaininfo,
                                .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                                .domain = peer};
    struct xen_sysctl sysctl = {.cmd = XEN_SYSCTL_physinfo,
                                .interface_version = XEN_SYSCTL_INTERFACE_VERSION};
    struct evtchn_status status = {.dom = DOMID_SELF, .port = 3999};
    xen_pfn_t frame = 1;
    privcmd_mmapbatch_v2_t batch = {.num = 1, .dom = peer, .arr = &frame, .err = &error};
    privcmd_mmapbatch_t old = {.num = 1, .arr = &frame};
    privcmd_mmap_entry_t run = {.mfn = 1, .npages = 1};
    privcmd_mmap_t runs = {.num = 1, .entry = &run};
    domid_t domid = peer;
    char *at;

    TRY("privcmd.unknown", ioctl(fd, IOCTL_PRIVCMD_UNIMPLEMENTED, NULL));
    TRY("privcmd.dm-op", ioctl(fd, IOCTL_PRIVCMD_DM_OP, NULL));
    TRY("privcmd.hypercall-null", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, NULL));
    TRY("privcmd.no-hypercall", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    call = (privcmd_hypercall_t){.op = __HYPERVISOR_xen_version, .arg = {XENVER_version}};
    TRY("privcmd.version", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    call.arg[0] = XENVER_capabilities;
    call.arg[1] = (uintptr_t)WILD;
    TRY("privcmd.version-wild", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    call = (privcmd_hypercall_t){.op = __HYPERVISOR_domctl, .arg = {(uintptr_t)&domctl}};
    TRY("privcmd.domctl", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    domctl.cmd = XEN_DOMCTL_pausedomain;
    TRY("privcmd.pause-the-peer", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    domctl.interface_version = 1;
    TRY("privcmd.domctl-version", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    call.arg[0] = (uintptr_t)WILD;
    TRY("privcmd.domctl-wild", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    call = (privcmd_hypercall_t){.op = __HYPERVISOR_sysctl, .arg = {(uintptr_t)&sysctl}};
    TRY("privcmd.sysctl", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    call = (privcmd_hypercall_t){.op = __HYPERVISOR_event_channel_op,
                                 .arg = {EVTCHNOP_status, (uintptr_t)&status}};
    TRY("privcmd.status-of-nothing", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    status.dom = peer;
    TRY("privcmd.status-of-the-peer", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));

    TRY("privcmd.batch-null", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, NULL));
    TRY("privcmd.batch-unmapped", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    at = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    TRY("privcmd.mmap", mapped(at));
    touch("privcmd.touched-by-a-child", at);
    batch.addr = (uintptr_t)at;
    batch.num = 0;
    TRY("privcmd.batch-0", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    batch.num = 0xffffffff;
    TRY("privcmd.batch-huge", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    batch.num = 3;
    TRY("privcmd.batch-beyond", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    batch.num = 1;
    batch.arr = WILD;
    TRY("privcmd.batch-wild-frames", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    batch.arr = &frame;
    TRY("privcmd.batch-without-rights", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    errno = -error;
    say("privcmd.batch-without-rights-error", -1);
    TRY("privcmd.munmap", munmap(at, 2 * PAGE));
    TRY("privcmd.restrict", ioctl(fd, IOCTL_PRIVCMD_RESTRICT, &domid));
    domid++;
    TRY("privcmd.restrict-other", ioctl(fd, IOCTL_PRIVCMD_RESTRICT, &domid));
    call = (privcmd_hypercall_t){.op = __HYPERVISOR_xen_version, .arg = {XENVER_version}};
    TRY("privcmd.restricted-hypercall", ioctl(fd, IOCTL_PRIVCMD_HYPERCALL, &call));
    at = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    batch.addr = old.addr = run.va = (uintptr_t)at;
    batch.dom = old.dom = runs.dom = domid;
    TRY("privcmd.restricted-batch-of-other", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    TRY("privcmd.restricted-old-batch-of-other", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH, &old));
    TRY("privcmd.restricted-mmap-of-other", ioctl(fd, IOCTL_PRIVCMD_MMAP, &runs));
    batch.dom = peer;
    TRY("privcmd.restricted-batch", ioctl(fd, IOCTL_PRIVCMD_MMAPBATCH_V2, &batch));
    close(fd);
}

/* Hold a page of the peer, and one for it, until it is killed; both are to be told. */
static void hold(char **argv)
{
    int fd = node("gntdev"), shares = node("gntalloc"), events = node("evtchn");
    struct ioctl_evtchn_bind_interdomain bind = {atoi(argv[2]), atoi(argv[4])};
    struct ioctl_gntdev_unmap_notify notify;
    struct ioctl_gntalloc_alloc_gref alloc = {.domid = bind.remote_domain, .count = 1,
                                              .flags = GNTALLOC_FLAG_WRITABLE};
    int mine = ioctl(events, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind), second;
    char *theirs, *ours;
    uint64_t index;

    map(fd, bind.remote_domain, atoi(argv[3]), &index);
    theirs = mmap(NULL, PAGE, RW, MAP_SHARED, fd, index);
    ioctl(shares, IOCTL_GNTALLOC_ALLOC_GREF, &alloc);
    ours = mmap(NULL, PAGE, RW, MAP_SHARED, shares, alloc.index);
    theirs[9] = ours[10] = 1;
    bind.remote_port = atoi(argv[5]);
    second = ioctl(events, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind);
    notify = (struct ioctl_gntdev_unmap_notify){
        index + 9, UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT, mine};
    TRY("hold.notify", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify));
    notify.index = alloc.index + 10;
    notify.event_channel_port = second;
    TRY("hold.notify-own", ioctl(shares, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify));
    TRY("hold.ref", alloc.gref_ids[0]);
    pause();
}

/* Map pages in any order, of several extents, and say the first byte of each. */
static void scatter(int argc, char **argv)
{
    int fd = node("gntdev"), count = argc - 3;
    struct ioctl_gntdev_map_grant_ref *arg = calloc(1, sizeof(*arg) + count * sizeof(*arg->refs));
    char *at;

    arg->count = count;
    for (int i = 0; i < count; i++) {
        arg->refs[i].domid = atoi(argv[2]);
        arg->refs[i].ref = atoi(argv[3 + i]);
    }
    TRY("scatter.map", ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, arg));
    at = mmap(NULL, (size_t)count * PAGE, RW, MAP_SHARED, fd, arg->index);
    TRY("scatter.mmap", mapped(at));
    printf("scatter.sees ");
    for (int i = 0; i < count; i++)
        putchar(at[i * PAGE]);
    printf("\n");
    TRY("scatter.munmap-middle", munmap(at + PAGE, PAGE));
    TRY("scatter.last", at[(count - 1) * PAGE]);
    pause();
}

/* Descriptors in all the ways a program can come by them, and the library's own left alone. */
static void descriptors(char **argv)
{
    int fd = open("/dev/xen/evtchn", O_RDWR), status; /* inherited over exec */
    struct ioctl_evtchn_bind_unbound_port unbound = {peer};
    int mine = ioctl(fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
    char text[2][16];
    pid_t pid;

    TRY("open.no-node", open("/dev/xen/nothing", O_RDWR));
    TRY("open.directory", open("/dev/xen", O_RDWR));
    TRY("access.node", access("/dev/xen/gntdev", R_OK | W_OK));
    TRY("access.no-node", access("/dev/xen/nothing", F_OK));
    TRY("open.not-dom0", open("/proc/xen/xsd_port", O_RDONLY));
    pid = fork();
    if (pid == 0) {
        struct ioctl_evtchn_notify notify = {mine};

        _exit(ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify) == 0 ? 5 : 6);
    }
    waitpid(pid, &status, 0);
    TRY("fork.ioctl-in-the-child", WEXITSTATUS(status));
    snprintf(text[0], sizeof(text[0]), "%d", fd);
    snprintf(text[1], sizeof(text[1]), "%d", mine);
    pid = fork();
    if (pid == 0) {
        execl(argv[0], argv[0], "after-exec", text[0], text[1], NULL);
        _exit(1);
    }
    waitpid(pid, &status, 0);
    TRY("exec.status", WEXITSTATUS(status));
    for (int i = 3; i < 1024; i++)
        close(i);
    TRY("closed-all.reopen", open("/dev/xen/evtchn", O_RDWR) >= 0);
    close_range(3, ~0U, 0);
    TRY("closed-range.reopen", open("/dev/xen/evtchn", O_RDWR) >= 0);
}

static void after_exec(char **argv)
{
    int fd = atoi(argv[2]);
    struct ioctl_evtchn_notify notify = {atoi(argv[3])};
    uint64_t index;

    TRY("exec.notify", ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify));
    notify.port = 3999;
    TRY("exec.notify-not-bound", ioctl(fd, IOCTL_EVTCHN_NOTIFY, &notify));
    TRY("exec.wrong-node", map(fd, 0, 8, &index));
}

static void *race(void *unused)
{
    long bad = 0;

    for (int round = 0; round < 40; round++) {
        int fd = node("gntdev"), events = node("evtchn");
        struct ioctl_evtchn_bind_unbound_port unbound = {peer};
        struct ioctl_evtchn_notify notify;
        uint64_t index;
        char *at;

        bad += map(fd, peer, good, &index) != 0;
        at = mmap(NULL, PAGE, RW, MAP_SHARED, fd, index);
        bad += at == MAP_FAILED || strcmp(at, "victim") != 0;
        notify.port = ioctl(events, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &unbound);
        bad += ioctl(events, IOCTL_EVTCHN_NOTIFY, &notify) != 0;
        if (round % 8 == 0) {
            pid_t pid = fork();

            if (pid == 0)
                _exit(ioctl(events, IOCTL_EVTCHN_NOTIFY, &notify) != 0);
            int status;
            waitpid(pid, &status, 0);
            bad += status != 0;
        }
        close(events);
        if (round % 2)
            close(fd);
        bad += munmap(at, PAGE) != 0;
        if (round % 2 == 0)
            close(fd);
    }
    (void)unused;
    return (void *)bad;
}

static void threads(void)
{
    pthread_t four[4];
    long bad = 0;

    for (int i = 0; i < 4; i++)
        pthread_create(&four[i], NULL, race, NULL);
    for (int i = 0; i < 4; i++) {
        void *mine;

        pthread_join(four[i], &mine);
        bad += (long)mine;
    }
    TRY("threads.bad", bad);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(argv[1], "scatter") == 0)
        scatter(argc, argv);
    if (strcmp(argv[1], "hold") == 0 || argc == 4) {
        argc == 4 ? after_exec(argv) : hold(argv);
        return 0;
    }
    peer = atoi(argv[1]);
    good = atoi(argv[2]);
    readonly = atoi(argv[3]);
    alien = atoi(argv[4]);
    port = atoi(argv[5]);
    evtchn();
    gntdev();
    gntalloc();
    privcmd();
    threads();
    descriptors(argv);
    printf("done 0\n");
    return 0;
}
