/*
 * The client of the store rows, the same for every daemon: as little as a client can do.
 *
 *     storeload SOCKET LOAD CONNECTIONS SECONDS CPU PID
 *
 * CONNECTIONS connections each have one request on its way at a time, and send the next when it is
 * answered; each has a node of its own below /bench, so that nobody waits for another's sake.  The
 * client runs on processor CPU ("-" for any), never spins, and sleeps in epoll_wait, or in recv(2)
 * when it has one connection.  LOAD is what one operation is:
 *
 *     read, write   of the connection's node
 *     mkdir         and rm of a node: two requests
 *     transaction   start, read, write, read, end: five requests
 *     directory     of /bench/directory, which has a thousand children
 *     watch         a write of a node that the connection watches: the answer and the event
 *     connect       a new connection, a read, and its end; the other CONNECTIONS - 1 stay idle
 *     beside        a read; the other CONNECTIONS - 1 stay idle
 *     scatter:N     a read of one of N nodes /scatter/<n % 100>/<n>, a thousand of them in turn
 *
 * Besides seconds per operation it prints the median and the 99th percentile of how long one took
 * (`p50`, `p99`, in seconds), the processor time and the sleeps of the daemon, which is process
 * PID (`cpu`, `sleeps`, per operation; not the client's), and how many transactions were begun anew
 * because the store said EAGAIN (`again`, per operation).
 *
 * The wire is that of xen/io/xs_wire.h.
 */
#define _GNU_SOURCE
#include "measured.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { DIRECTORY = 1, READ = 2, WATCH = 4, TX_START = 6, TX_END = 7, WRITE = 11, MKDIR = 12,
       RM = 13, WATCH_EVENT = 15, ERROR = 16 };
enum { MAX_CONNECTIONS = 1000, MAX_STEPS = 5, PAYLOAD = 4096, BUFFER = 65536, MAX_TIMES = 1 << 20 };

struct header {
    uint32_t type, request, transaction, length;
};

/* One request of an operation.  `events` beside the answer must come before the next. */
struct step {
    uint32_t type;
    const char *suffix; /* of the connection's node */
    const char *value;  /* of a write, the token of a watch, T of an end; NULL for none */
    int events;
};

struct load {
    const char *name;
    int steps;
    struct step step[MAX_STEPS];
};

static const struct load loads[] = {
    {"read", 1, {{READ, "", NULL, 0}}},
    {"write", 1, {{WRITE, "", "value", 0}}},
    {"mkdir", 2, {{MKDIR, "/new", NULL, 0}, {RM, "/new", NULL, 0}}},
    {"transaction", 5, {{TX_START, NULL, "", 0}, {READ, "", NULL, 0}, {WRITE, "", "other", 0},
                        {READ, "", NULL, 0}, {TX_END, NULL, "T", 0}}},
    {"directory", 1, {{DIRECTORY, NULL, "/bench/directory", 0}}},
    {"watch", 1, {{WRITE, "", "value", 1}}},
    {"connect", 1, {{READ, "", NULL, 0}}},
    {"beside", 1, {{READ, "", NULL, 0}}},
    {"scatter", 1, {{READ, "", NULL, 0}}},
};

struct connection {
    int fd, number, step;
    int answers, events; /* that are still to come */
    uint32_t transaction;
    int64_t begun;
    size_t have; /* of the message that is coming, header and all */
    char message[sizeof(struct header) + PAYLOAD];
};

static const char *path;
static struct connection *connections;
static int64_t *times;
static size_t nr_times;
static long scattered; /* nodes; 0 for other loads */
static double operations, again;

static int open_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        die("socket");
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        die(path);
    return fd;
}

static void send_step(struct connection *to, const struct step *step)
{
    char out[sizeof(struct header) + 256];
    struct header header = {.type = step->type, .request = 1, .transaction = to->transaction};
    char *at = out + sizeof(header), *end = out + sizeof(out);

    if (step->suffix && scattered) {
        long node = scattered / 1000 * (to->number++ % 1000 * 7919 % 1000);

        at += snprintf(at, (size_t)(end - at), "/scatter/%ld/%ld", node % 100, node);
        at++;
    } else if (step->suffix) {
        at += snprintf(at, (size_t)(end - at), "/bench/%d%s", to->number, step->suffix);
        at++; /* its NUL */
    }
    if (step->value) {
        size_t length = strlen(step->value) + (step->type != WRITE);

        memcpy(at, step->value, length);
        at += length;
    }
    header.length = (uint32_t)(at - out) - (uint32_t)sizeof(header);
    memcpy(out, &header, sizeof(header));
    to->answers = 1;
    to->events = step->events;
    if (send(to->fd, out, (size_t)(at - out), MSG_NOSIGNAL) != at - out)
        die("send");
}

static void begin(struct connection *one, const struct load *load)
{
    one->step = 0;
    one->transaction = 0;
    one->begun = nanoseconds();
    send_step(one, &load->step[0]);
}

/* A whole message has come: what it means for the step that it answers. */
static void take(struct connection *one, const struct load *load)
{
    const struct step *step = &load->step[one->step];
    const char *payload = one->message + sizeof(struct header);
    struct header header;

    memcpy(&header, one->message, sizeof(header));
    if (header.type == WATCH_EVENT) {
        one->events--;
    } else if (header.type == ERROR && strcmp(payload, "EAGAIN") == 0 && step->type == TX_END) {
        again++;
        one->step = 0;
        one->transaction = 0;
        send_step(one, &load->step[0]);
        return;
    } else if (header.type != step->type) {
        fprintf(stderr, "%s: asked %u, answered %u %.*s\n", load->name, step->type, header.type,
                (int)header.length, payload);
        exit(1);
    } else {
        one->answers--;
        if (step->type == TX_START)
            one->transaction = (uint32_t)strtoul(payload, NULL, 10);
    }
}

/* Whether the step's answer, and its events, have come. */
static int ready(const struct connection *one)
{
    return one->answers <= 0 && one->events <= 0;
}

/* Take what the daemon has sent; 0 when that was nothing yet. */
static int receive(struct connection *one, const struct load *load, int flags)
{
    static char buffer[BUFFER];
    ssize_t got = recv(one->fd, buffer, sizeof(buffer), flags), at = 0;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        fprintf(stderr, "the store has closed the connection\n");
        exit(1);
    }
    while (at < got) {
        size_t want = sizeof(struct header), part;

        if (one->have >= sizeof(struct header)) {
            struct header header;

            memcpy(&header, one->message, sizeof(header));
            want += header.length;
            if (header.length > PAYLOAD) {
                fprintf(stderr, "a message of %u bytes\n", header.length);
                exit(1);
            }
        }
        part = want - one->have;
        if (part > (size_t)(got - at))
            part = (size_t)(got - at);
        memcpy(one->message + one->have, buffer + at, part);
        one->have += part;
        at += (ssize_t)part;
        if (one->have >= sizeof(struct header)) {
            struct header header;

            memcpy(&header, one->message, sizeof(header));
            if (one->have == sizeof(header) + header.length) {
                one->have = 0;
                take(one, load);
            }
        }
    }
    return 1;
}

static void count(struct connection *one)
{
    if (nr_times < MAX_TIMES)
        times[nr_times++] = nanoseconds() - one->begun;
    operations++;
}

/* After an answer: the next step, or the next operation unless time is up; whether it goes on. */
static int go_on(struct connection *one, const struct load *load, int64_t deadline)
{
    if (!ready(one))
        return 1;
    if (++one->step < load->steps) {
        send_step(one, &load->step[one->step]);
        return 1;
    }
    count(one);
    if (nanoseconds() >= deadline)
        return 0;
    begin(one, load);
    return 1;
}

static void drive_one(const struct load *load, int64_t deadline)
{
    begin(connections, load);
    do
        while (!receive(connections, load, 0))
            ;
    while (go_on(connections, load, deadline));
}

static void drive_many(const struct load *load, int number, int64_t deadline)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), going = number;
    struct epoll_event events[64];

    for (int i = 0; i < number; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0)
            die("epoll");
        begin(&connections[i], load);
    }
    while (going) {
        int got = epoll_wait(epoll, events, 64, -1);

        for (int i = 0; i < got; i++) {
            struct connection *one = &connections[events[i].data.u32];

            if (receive(one, load, MSG_DONTWAIT) && !go_on(one, load, deadline))
                going--;
        }
    }
    close(epoll);
}

static void drive_connects(const struct load *load, int64_t deadline)
{
    struct connection *one = &connections[0];

    do {
        one->begun = nanoseconds();
        one->step = 0;
        one->fd = open_socket();
        send_step(one, &load->step[0]);
        while (!ready(one))
            receive(one, load, 0);
        close(one->fd);
        count(one);
    } while (nanoseconds() < deadline);
}

/* One request outside of what is measured. */
static void prepare(struct connection *one, struct step step)
{
    struct load load = {"the start", 1, {step}};

    send_step(one, &step);
    while (!ready(one))
        receive(one, &load, 0);
}

/* What the daemon has used so far: the kernel's name of its clock is that of
 * clock_getcpuclockid(3), its sleeps are in proc_pid_status(5). */
static struct spent used_by_daemon(int pid)
{
    struct spent spent = {.seconds = (double)nanoseconds() * 1e-9};
    struct timespec cpu;
    char line[256];
    FILE *file;

    if (clock_gettime((clockid_t)(~(unsigned)pid << 3 | 2), &cpu) < 0)
        die("the daemon's clock");
    spent.cpu = (double)cpu.tv_sec + (double)cpu.tv_nsec * 1e-9;
    snprintf(line, sizeof(line), "/proc/%d/status", pid);
    file = fopen(line, "re");
    if (!file)
        die(line);
    while (fgets(line, sizeof(line), file))
        sscanf(line, "voluntary_ctxt_switches: %ld", &spent.sleeps);
    fclose(file);
    return spent;
}

static int earlier(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;

    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    const struct load *load = NULL;
    int number = argc > 3 ? atoi(argv[3]) : 0;
    int64_t deadline;
    struct spent start, end;

    for (size_t i = 0; argc == 7 && i < sizeof(loads) / sizeof(*loads); i++)
        if (strncmp(argv[2], loads[i].name, strcspn(argv[2], ":")) == 0)
            load = &loads[i];
    if (!load || number < 1 || number > MAX_CONNECTIONS) {
        fprintf(stderr, "usage: %s SOCKET LOAD CONNECTIONS(1..%d) SECONDS CPU PID\n", argv[0],
                MAX_CONNECTIONS);
        return 2;
    }
    path = argv[1];
    pin(argv[5]);
    times = calloc(MAX_TIMES, sizeof(*times));
    connections = calloc((size_t)number, sizeof(*connections));
    if (!times || !connections)
        die("calloc");
    for (int i = 0; i < number; i++) {
        connections[i].fd = open_socket();
        connections[i].number = i;
        prepare(&connections[i], (struct step){WRITE, "", "value", 0});
        if (strcmp(load->name, "watch") == 0) /* it fires once for having been set */
            prepare(&connections[i], (struct step){WATCH, "", "token", 1});
    }
    if (strchr(argv[2], ':'))
        scattered = atol(strchr(argv[2], ':') + 1);
    start = used_by_daemon(atoi(argv[6]));
    deadline = nanoseconds() + (int64_t)(atof(argv[4]) * 1e9);
    if (strcmp(load->name, "connect") == 0) {
        close(connections[0].fd);
        drive_connects(load, deadline);
    } else if (number == 1 || strcmp(load->name, "beside") == 0) {
        drive_one(load, deadline);
    } else {
        drive_many(load, number, deadline);
    }
    end = used_by_daemon(atoi(argv[6]));
    qsort(times, nr_times, sizeof(*times), earlier);
    printf("seconds %.4g\n", (end.seconds - start.seconds) / operations);
    printf("cpu %.4g\n", (end.cpu - start.cpu) / operations);
    printf("sleeps %.4g\n", (double)(end.sleeps - start.sleeps) / operations);
    printf("operations %.0f\n", operations);
    printf("p50 %.4g\n", (double)times[nr_times / 2] * 1e-9);
    printf("p99 %.4g\n", (double)times[nr_times - 1 - nr_times / 100] * 1e-9);
    printf("again %.4g\n", again / operations);
    return 0;
}
