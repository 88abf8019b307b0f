/*
 * Map pages in any order, of several extents, say the first byte of each, and hold all but the
 * second until it is killed.
 *
 *     scatter PEER REF...
 */
#define _GNU_SOURCE
#include "nodes.h"

int main(int argc, char **argv)
{
    int fd = node("gntdev"), count = argc - 2;
    struct ioctl_gntdev_map_grant_ref *arg = calloc(1, sizeof(*arg) + count * sizeof(*arg->refs));
    char *at;

    arg->count = count;
    for (int i = 0; i < count; i++) {
        arg->refs[i].domid = atoi(argv[1]);
        arg->refs[i].ref = atoi(argv[2 + i]);
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
    return 0;
}
