/* /dev/xen/privcmd: hypercalls without the right to them, and pages of domains that forbid it. */
#define _GNU_SOURCE
#include "baduse.h"

#include <xen/domctl.h>
#include <xen/event_channel.h>
#include <xen/sysctl.h>
#include <xen/version.h>
#include <xen/sys/privcmd.h>

void privcmd(void)
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
