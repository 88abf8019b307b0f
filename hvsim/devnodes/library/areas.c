/*
 * What this process has mapped through nodes.
 *
 * Every area is remembered with the addresses it was laid at.  Whoever unmaps some of them, or maps
 * something else there, makes the other side hear of it; addresses that an area has lost before do
 * no harm, for the other side knows what it still has.
 */
#define _GNU_SOURCE
#include "nodes.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static struct area *areas;
static size_t count, room; /* room in areas */

static int failed(long address)
{
    return address < 0 && address > -(long)PAGE;
}

int remember(const struct area *area)
{
    if (count == room) {
        size_t wanted = room ? 2 * room : PAGE / sizeof(*areas);
        long at = RAW6(SYS_mmap, 0, wanted * sizeof(*areas), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (failed(at))
            return (int)at;
        if (count) {
            memcpy((void *)at, areas, count * sizeof(*areas));
            RAW2(SYS_munmap, areas, room * sizeof(*areas));
        }
        areas = (struct area *)at;
        room = wanted;
    }
    areas[count] = *area;
    __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
    return 0;
}

/* The pages of an area that lie within addresses: how many, and the first of them. */
static uint64_t within(const struct area *area, uintptr_t start, size_t size, uint64_t *first)
{
    uintptr_t end = start + size, area_end = area->start + area->pages * PAGE;
    uintptr_t from = start > area->start ? start : area->start;
    uintptr_t to = end < area_end ? end : area_end;

    *first = (from - area->start) / PAGE;
    return from < to ? (to - from + PAGE - 1) / PAGE : 0;
}

int any_area(uintptr_t start, size_t size)
{
    uint64_t first;

    for (size_t i = 0; i < count; i++)
        if (within(&areas[i], start, size, &first))
            return 1;
    return 0;
}

void forget(uintptr_t start, size_t size)
{
    static struct answer answer;

    for (size_t i = count; i-- > 0;) {
        uint64_t first, pages = within(&areas[i], start, size, &first);
        struct request request = {.op = OP_MUNMAP, .a = areas[i].number, .b = first, .c = pages};

        /* Ended, or unknown there: either way nothing is left to be told. */
        if (pages && ask(&request, NULL, 0, NULL, 0, &answer) != 0) {
            areas[i] = areas[count - 1];
            __atomic_store_n(&count, count - 1, __ATOMIC_RELEASE);
        }
    }
}

int lay(uint64_t area, uintptr_t start, uint64_t pages, int prot)
{
    static struct answer answer;
    static struct row rows[MAX_ROWS];
    uint64_t first = 0;
    int error = 0;

    while (first < pages && !error) {
        uint64_t most = pages - first < MAX_ROWS ? pages - first : MAX_ROWS;
        struct request request = {.op = OP_PAGES, .a = area, .b = first, .c = most};
        int64_t done = ask(&request, NULL, 0, rows, sizeof(rows), &answer);
        uint64_t got = answer.size / sizeof(*rows);

        if (done < 0 || got == 0 || got > most)
            return done < 0 ? (int)done : -EIO;
        for (uint64_t i = 0, run; i < got && !error; i += run) {
            long at;

            for (run = 1; i + run < got && rows[i + run].fd == rows[i].fd
                          && rows[i + run].page == rows[i].page + run; run++)
                ;
            if (rows[i].fd == NO_PAGE) {
                run = 1;
                continue;
            }
            if (rows[i].fd >= (uint32_t)answer.count) {
                error = -EIO;
                break;
            }
            at = RAW6(SYS_mmap, start + (first + i) * PAGE, run * PAGE, prot,
                      MAP_SHARED | MAP_FIXED, answer.fds[rows[i].fd],
                      (uint64_t)rows[i].page * PAGE);
            if (failed(at))
                error = (int)at;
        }
        close_all(&answer);
        first += got;
    }
    return error;
}

void areas_after_fork(void)
{
    static struct answer answer;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct request request = {.op = OP_MMAP, .file = areas[i].file, .a = areas[i].start,
                                  .b = areas[i].pages * PAGE, .c = (uint64_t)areas[i].prot,
                                  .d = areas[i].offset};

        /* The pages are here already; what could not be told is a mapping that nobody counts. */
        if (areas[i].inherited && ask(&request, NULL, 0, NULL, 0, &answer) >= 0) {
            areas[kept] = areas[i];
            areas[kept++].number = answer.reply.area;
        }
    }
    count = kept;
}
