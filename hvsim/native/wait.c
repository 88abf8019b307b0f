/*
 * Wait: one wait of a vCPU in its epoll set, with what it says of it in its own page.
 *
 * wait(timeout, until) stores `until` in the page (blocked_until, hvsim/abi/vcpu_page.py), waits at
 * most `timeout` seconds (negative: without a limit), stores 0 again, and returns the descriptors
 * that have something.  A timeout of 0 is a look: the page stays as it is.  The twin is in
 * hvsim/domain/vcpu.py.
 */
#include "module.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

enum { MAX_EVENTS = 32 };

#define MOST_SECONDS 2e6

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    Py_buffer buffer;
    int64_t *word;
    int fd;
} Wait;

static int64_t milliseconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Rounded up, as select.epoll does: the rest of one would be looked at again and again. */
static int in_milliseconds(double seconds)
{
    int whole;

    if (seconds < 0)
        return -1;
    if (!(seconds < MOST_SECONDS))
        return (int)MOST_SECONDS * 1000;
    whole = (int)(seconds * 1000);
    return whole + (whole < seconds * 1000);
}

/* As epoll_wait(2), but a signal whose handler raises nothing does not end it; -1: an exception. */
static int wait_events(Wait *wait, struct epoll_event *events, int milliseconds)
{
    int64_t deadline = milliseconds > 0 ? milliseconds_now() + milliseconds : 0;
    int count, error;

    for (;;) {
        Py_BEGIN_ALLOW_THREADS
        count = epoll_wait(wait->fd, events, MAX_EVENTS, milliseconds);
        error = errno;
        Py_END_ALLOW_THREADS
        if (count >= 0)
            return count;
        if (error != EINTR) {
            errno = error;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        if (PyErr_CheckSignals() < 0)
            return -1;
        if (milliseconds > 0) {
            int64_t left = deadline - milliseconds_now();
            milliseconds = left > 0 ? (int)left : 0;
        }
    }
}

static PyObject *Wait_call(PyObject *self, PyObject *const *args, size_t nargs, PyObject *names)
{
    Wait *wait = (Wait *)self;
    struct epoll_event events[MAX_EVENTS];
    double seconds;
    int milliseconds, count;
    PyObject *ready;

    if (PyVectorcall_NARGS(nargs) != 2 || names) {
        PyErr_SetString(PyExc_TypeError, "wait(timeout, until)");
        return NULL;
    }
    if (!wait->word) {
        PyErr_SetString(PyExc_ValueError, "the page was released");
        return NULL;
    }
    seconds = PyFloat_AsDouble(args[0]);
    if (seconds == -1.0 && PyErr_Occurred())
        return NULL;
    milliseconds = in_milliseconds(seconds);
    if (milliseconds == 0) {
        count = epoll_wait(wait->fd, events, MAX_EVENTS, 0);
        if (count < 0)
            return PyErr_SetFromErrno(PyExc_OSError);
    } else {
        int64_t until = PyLong_AsLongLong(args[1]);

        if (until == -1 && PyErr_Occurred())
            return NULL;
        __atomic_store_n(wait->word, until, __ATOMIC_RELAXED);
        count = wait_events(wait, events, milliseconds);
        if (wait->word)
            __atomic_store_n(wait->word, 0, __ATOMIC_RELAXED);
        if (count < 0)
            return NULL;
    }
    ready = PyTuple_New(count);
    for (int number = 0; ready && number < count; number++) {
        PyObject *fd = PyLong_FromLong(events[number].data.fd);

        if (!fd) {
            Py_CLEAR(ready);
            break;
        }
        PyTuple_SET_ITEM(ready, number, fd);
    }
    return ready;
}

static int Wait_init(Wait *wait, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "word", NULL};
    PyObject *word;
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO", names, &fd, &word))
        return -1;
    if (wait->word) {
        PyErr_SetString(PyExc_ValueError, "the page of a wait is set once");
        return -1;
    }
    if (PyObject_GetBuffer(word, &wait->buffer, PyBUF_WRITABLE) < 0)
        return -1;
    if (wait->buffer.len != sizeof(*wait->word) || (uintptr_t)wait->buffer.buf % 8) {
        PyBuffer_Release(&wait->buffer);
        PyErr_SetString(PyExc_ValueError, "blocked_until has 8 bytes, aligned to 8");
        return -1;
    }
    wait->word = wait->buffer.buf;
    wait->fd = fd;
    return 0;
}

static PyObject *Wait_release(Wait *wait, PyObject *Py_UNUSED(ignored))
{
    if (wait->word) {
        wait->word = NULL;
        PyBuffer_Release(&wait->buffer);
    }
    Py_RETURN_NONE;
}

static void Wait_dealloc(Wait *wait)
{
    if (wait->word)
        PyBuffer_Release(&wait->buffer);
    Py_TYPE(wait)->tp_free((PyObject *)wait);
}

static PyObject *Wait_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    Wait *wait = (Wait *)PyType_GenericNew(type, args, kwargs);

    if (wait)
        wait->call = Wait_call; /* which finds no page before __init__ */
    return (PyObject *)wait;
}

static PyMethodDef methods[] = {
    {"release", (PyCFunction)Wait_release, METH_NOARGS,
     "Let go of the page; a later call raises ValueError."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject WaitType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hvsim._native.Wait",
    .tp_doc = "One wait in an epoll set: call it with (timeout, until).",
    .tp_basicsize = sizeof(Wait),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Wait, call),
    .tp_call = PyVectorcall_Call,
    .tp_new = Wait_new,
    .tp_init = (initproc)Wait_init,
    .tp_dealloc = (destructor)Wait_dealloc,
    .tp_methods = methods,
};
