/* /dev/xen/evtchn: ports that are not ours, wild pointers, and what a restriction forbids. */
#define _GNU_SOURCE
#include "baduse.h"

#include <xen/sys/evtchn.h>

void evtchn(void)
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
