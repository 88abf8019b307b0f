/* /dev/xen/gntalloc: too many references, maps of wrong places, giving back twice. */
#define _GNU_SOURCE
#include "baduse.h"

#include <xen/sys/gntalloc.h>

void gntalloc(void)
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
