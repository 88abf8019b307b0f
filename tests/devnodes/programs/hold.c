/*
 * Hold a page of a domain, and one for it, until it is killed; both are to be told.
 *
 *     hold PEER GOOD PORT PORT
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <xen/sys/evtchn.h>
#include <xen/sys/gntalloc.h>

int main(int argc, char **argv)
{
    int fd = node("gntdev"), shares = node("gntalloc"), events = node("evtchn");
    struct ioctl_evtchn_bind_interdomain bind = {atoi(argv[1]), atoi(argv[3])};
    struct ioctl_gntdev_unmap_notify notify;
    struct ioctl_gntalloc_alloc_gref alloc = {.domid = bind.remote_domain, .count = 1,
                                              .flags = GNTALLOC_FLAG_WRITABLE};
    int mine = ioctl(events, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind), second;
    char *theirs, *ours;
    uint64_t index;

    if (argc != 5)
        return 2;
    map(fd, bind.remote_domain, atoi(argv[2]), &index);
    theirs = mmap(NULL, PAGE, RW, MAP_SHARED, fd, index);
    ioctl(shares, IOCTL_GNTALLOC_ALLOC_GREF, &alloc);
    ours = mmap(NULL, PAGE, RW, MAP_SHARED, shares, alloc.index);
    theirs[9] = ours[10] = 1;
    bind.remote_port = atoi(argv[4]);
    second = ioctl(events, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind);
    notify = (struct ioctl_gntdev_unmap_notify){
        index + 9, UNMAP_NOTIFY_CLEAR_BYTE | UNMAP_NOTIFY_SEND_EVENT, mine};
    TRY("hold.notify", ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify));
    notify.index = alloc.index + 10;
    notify.event_channel_port = second;
    TRY("hold.notify-own", ioctl(shares, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &notify));
    TRY("hold.ref", alloc.gref_ids[0]);
    pause();
    return 0;
}
