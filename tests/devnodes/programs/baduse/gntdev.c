/* /dev/xen/gntdev: grants that are not ours, maps of wrong sizes, unmapping twice, copies. */
#define _GNU_SOURCE
#include "baduse.h"

#include <xen/grant_table.h>

void gntdev(void)
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
