/* The backend of blkring.c: each request is one system call on the image. */
#ifndef BENCHMARKS_BLKRING_BACK_H
#define BENCHMARKS_BLKRING_BACK_H

#include "blkring_shared.h"

#include <sys/uio.h>

/* The pieces of memory that the segments name: neighbours are one. */
static int gather(const struct segment *segment, unsigned count, struct iovec *iov)
{
    int used = 0;

    for (unsigned i = 0; i < count; i++) {
        uint8_t *base = data + (size_t)segment[i].gref * PAGE + segment[i].first * SECTOR;
        size_t length = (size_t)(segment[i].last - segment[i].first + 1) * SECTOR;

        if (used && (uint8_t *)iov[used - 1].iov_base + iov[used - 1].iov_len == base) {
            iov[used - 1].iov_len += length;
        } else {
            iov[used].iov_base = base;
            iov[used].iov_len = length;
            used++;
        }
    }
    return used;
}

static void serve(int image, uint32_t index, struct response *response)
{
    struct segment copy[MAX_SEGMENTS], *segment = copy;
    struct iovec iov[MAX_SEGMENTS];
    union request request;
    unsigned count;
    uint8_t operation;
    ssize_t done;
    off_t at;
    int pieces;

    memcpy(&request, slot(index), sizeof(request));
    operation = request.direct.operation;
    count = request.direct.segments;
    segment = request.direct.segment;
    if (operation == OP_INDIRECT) {
        operation = request.indirect.inner;
        count = request.indirect.segments;
        memcpy(copy, frames + (size_t)request.indirect.frame[0] * PAGE, count * sizeof(*copy));
        segment = copy;
    }
    at = (off_t)(request.direct.sector * SECTOR);
    pieces = gather(segment, count, iov);
    done = operation == OP_READ ? preadv(image, iov, pieces, at) : pwritev(image, iov, pieces, at);
    memset(response, 0, sizeof(*response));
    response->id = request.direct.id;
    response->operation = operation;
    response->status = done == (ssize_t)size ? 0 : -1;
}

/* Answers until it is killed. */
static void backend(int image, int wake, int peer)
{
    uint32_t cons = 0, prod = 0, seen;
    struct looks looks = {0};
    struct response response;

    for (;;) {
        seen = ring_load(&shared->req_prod);
        if (seen == cons) {
            if (look(&looks, &shared->req_prod, cons, BACK_LOOK, &counted[1]))
                continue;
            seen = ring_rearm(&shared->req_event, &shared->req_prod, cons);
            if (seen == cons) {
                wait_for(wake);
                continue;
            }
        }
        while (cons != seen) {
            serve(image, cons++, &response);
            memcpy(slot(prod), &response, sizeof(response));
            prod++;
            if (ring_publish(&shared->rsp_prod, &shared->rsp_event, prod - 1, prod))
                notify(peer, &counted[1]);
        }
    }
}

#endif
