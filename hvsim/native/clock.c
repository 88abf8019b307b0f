/*
 * Clock: system time in seconds, worked out from the page that a vCPU shares with the hypervisor.
 *
 * A call is one look at the TSC (CLOCK_MONOTONIC) and one at the version of vcpu_time_info
 * (xen/xen.h); its parameters are read anew when that has changed.  The twin is
 * hvsim/domain/clock.py.
 */
#include "module.h"

#include <string.h>
#include <time.h>

struct vcpu_time_info {
    uint32_t version, pad0;
    uint64_t tsc_timestamp, system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags, pad1[2];
};

_Static_assert(sizeof(struct vcpu_time_info) == 32, "xen/xen.h layout");

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Py_buffer buffer;
    const struct vcpu_time_info *info;
    int64_t version; /* of the parameters below; -1 before they were read */
    double rate, base;
} Clock;

/* value * 2^shift, without libm */
static double scaled(double value, int shift)
{
    for (; shift > 0; shift--)
        value *= 2;
    for (; shift < 0; shift++)
        value /= 2;
    return value;
}

/* The parameters, copied while nobody wrote them. */
static void Clock_learn(Clock *clock)
{
    const uint32_t *version = &clock->info->version;
    struct vcpu_time_info copy;
    uint32_t before;

    do {
        while ((before = __atomic_load_n(version, __ATOMIC_ACQUIRE)) & 1)
            sched_yield();
        memcpy(&copy, clock->info, sizeof(copy));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (__atomic_load_n(version, __ATOMIC_RELAXED) != before);
    clock->version = before;
    clock->rate = scaled((double)copy.tsc_to_system_mul, copy.tsc_shift - 32);
    clock->base = (double)copy.system_time / 1e9 - (double)copy.tsc_timestamp / 1e9 * clock->rate;
}

static PyObject *Clock_now(PyObject *self, PyObject *const *Py_UNUSED(args), size_t nargs,
                           PyObject *names)
{
    Clock *clock = (Clock *)self;
    struct timespec now;
    double ticks;

    if (PyVectorcall_NARGS(nargs) || names) {
        PyErr_SetString(PyExc_TypeError, "a clock takes no arguments");
        return NULL;
    }
    if (!clock->info) {
        PyErr_SetString(PyExc_ValueError, "the clock was released");
        return NULL;
    }
    for (;;) {
        /* The TSC first: parameters that are changed after it was read are seen to be. */
        clock_gettime(CLOCK_MONOTONIC, &now);
        ticks = (double)(now.tv_sec * INT64_C(1000000000) + now.tv_nsec) / 1e9;
        if (__atomic_load_n(&clock->info->version, __ATOMIC_ACQUIRE) == clock->version)
            return PyFloat_FromDouble(ticks * clock->rate + clock->base);
        Clock_learn(clock);
    }
}

static int Clock_init(Clock *clock, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"info", NULL};
    PyObject *page;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &page))
        return -1;
    if (clock->info) {
        PyErr_SetString(PyExc_ValueError, "the page of a clock is set once");
        return -1;
    }
    if (PyObject_GetBuffer(page, &clock->buffer, PyBUF_SIMPLE) < 0)
        return -1;
    if (clock->buffer.len != sizeof(*clock->info) || (uintptr_t)clock->buffer.buf % 8) {
        PyBuffer_Release(&clock->buffer);
        PyErr_SetString(PyExc_ValueError, "vcpu_time_info has 32 bytes, aligned to 8");
        return -1;
    }
    clock->info = clock->buffer.buf;
    clock->version = -1;
    clock->call = Clock_now;
    return 0;
}

static PyObject *Clock_release(Clock *clock, PyObject *Py_UNUSED(ignored))
{
    if (clock->info) {
        clock->info = NULL;
        PyBuffer_Release(&clock->buffer);
    }
    Py_RETURN_NONE;
}

static void Clock_dealloc(Clock *clock)
{
    if (clock->info)
        PyBuffer_Release(&clock->buffer);
    Py_TYPE(clock)->tp_free((PyObject *)clock);
}

static PyObject *Clock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Clock *clock = (Clock *)PyType_GenericNew(type, args, kwargs);

    if (clock)
        clock->call = Clock_now; /* which finds no page before __init__ */
    return (PyObject *)clock;
}

static PyMethodDef methods[] = {
    {"release", (PyCFunction)Clock_release, METH_NOARGS,
     "Let go of the page; a later call raises ValueError."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject ClockType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hvsim._native.Clock",
    .tp_doc = "System time in seconds: call it.",
    .tp_basicsize = sizeof(Clock),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Clock, call),
    .tp_call = PyVectorcall_Call,
    .tp_new = Clock_new,
    .tp_init = (initproc)Clock_init,
    .tp_dealloc = (destructor)Clock_dealloc,
    .tp_methods = methods,
};
