/*
 * FrontRing and BackRing: the compiled twins of the classes in hvsim/domain/ring.py.
 *
 * Both are one structure; they differ in which shared words they own.  What a peer wrote is loaded
 * once and checked; a slot is copied once into an object of our own.
 */
#include "module.h"

#include <string.h>

static int Ring_init_common(Ring *ring, PyObject *page, unsigned request, unsigned response,
                            unsigned start)
{
    if (!request || !response || request > 4096 || response > 4096) {
        PyErr_SetString(PyExc_ValueError, "a slot holds 1 to 4096 bytes");
        return -1;
    }
    if (ring->buffer.obj) {
        PyErr_SetString(PyExc_ValueError, "a ring is initialised once");
        return -1;
    }
    if (PyObject_GetBuffer(page, &ring->buffer, PyBUF_WRITABLE) < 0)
        return -1;
    ring->request_size = request;
    ring->response_size = response;
    ring->slot_size = request > response ? request : response;
    ring->size = ring_entries((size_t)ring->buffer.len, ring->slot_size);
    if (!ring->size || (uintptr_t)ring->buffer.buf % sizeof(uint32_t)) {
        PyBuffer_Release(&ring->buffer);
        PyErr_SetString(PyExc_ValueError, "the page is too small for one slot, or not aligned");
        return -1;
    }
    ring->shared = ring->buffer.buf;
    ring->slots = (uint8_t *)ring->buffer.buf + RING_HEADER_BYTES;
    ring->prod = ring->published = ring->cons = start;
    return 0;
}

static int Front_init(Ring *ring, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"page", "request_size", "response_size", "start", NULL};
    PyObject *page;
    unsigned request, response, start = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OII|$I", names, &page, &request, &response,
                                     &start))
        return -1;
    if (Ring_init_common(ring, page, request, response, start) < 0)
        return -1;
    /* SHARED_RING_INIT, at any start index so that tests reach the wrap of 32 bits. */
    memset(ring->shared->pad, 0, sizeof(ring->shared->pad));
    ring_store(&ring->shared->req_prod, start);
    ring_store(&ring->shared->rsp_prod, start);
    ring_store(&ring->shared->req_event, start + 1);
    ring_store(&ring->shared->rsp_event, start + 1);
    return 0;
}

static int Back_init(Ring *ring, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"page", "request_size", "response_size", "start", NULL};
    PyObject *page;
    unsigned request, response, start = 0;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OII|$I", names, &page, &request, &response,
                                     &start))
        return -1;
    return Ring_init_common(ring, page, request, response, start);
}

static void Ring_dealloc(Ring *ring)
{
    if (ring->buffer.obj)
        PyBuffer_Release(&ring->buffer);
    Py_TYPE(ring)->tp_free((PyObject *)ring);
}

static int Ring_ready(Ring *ring)
{
    if (ring->buffer.obj && !ring->busy)
        return 1;
    PyErr_SetString(PyExc_ValueError, ring->busy ? "a batch runs on this ring"
                                                 : "operation on a released ring");
    return 0;
}

static PyObject *Ring_release(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    if (ring->busy) {
        PyErr_SetString(PyExc_ValueError, "a batch runs on this ring");
        return NULL;
    }
    if (ring->buffer.obj)
        PyBuffer_Release(&ring->buffer);
    Py_RETURN_NONE;
}

static PyObject *Broken(const char *what, uint32_t peer, uint32_t own)
{
    return PyErr_Format(RingBrokenError, "%s producer index %u is out of range (ours is at %u)",
                        what, (unsigned)peer, (unsigned)own);
}

static PyObject *store_slot(Ring *ring, PyObject *data, uint32_t wanted)
{
    Py_buffer view;

    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if ((size_t)view.len > wanted) {
        PyBuffer_Release(&view);
        return PyErr_Format(PyExc_ValueError, "a slot of this ring holds %u bytes",
                            (unsigned)wanted);
    }
    memcpy(ring_slot(ring, ring->prod), view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    ring->prod++;
    Py_RETURN_NONE;
}

/* ring_spin without the GIL. */
static PyObject *spin(Ring *ring, const uint32_t *index, PyObject *nanoseconds)
{
    long limit = PyLong_AsLong(nanoseconds);
    int found;

    if (PyErr_Occurred())
        return NULL;
    ring->busy = 1;
    Py_BEGIN_ALLOW_THREADS;
    found = ring_spin(index, ring->cons, limit);
    Py_END_ALLOW_THREADS;
    ring->busy = 0;
    return PyBool_FromLong(found);
}

/* --- front ------------------------------------------------------------------------------- */

static PyObject *Front_produce(Ring *ring, PyObject *data)
{
    if (!Ring_ready(ring))
        return NULL;
    if ((uint32_t)(ring->prod - ring->cons) >= ring->size) {
        PyErr_SetString(RingFullError, "every slot of the ring is in use");
        return NULL;
    }
    return store_slot(ring, data, ring->request_size);
}

static PyObject *Front_push(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    uint32_t old = ring->published;

    if (!Ring_ready(ring))
        return NULL;
    ring->published = ring->prod;
    return PyBool_FromLong(
        ring_publish(&ring->shared->req_prod, &ring->shared->req_event, old, ring->prod));
}

/* Responses the backend has published; -1 with an exception when that cannot be. */
static int Front_ahead(Ring *ring, uint32_t producer)
{
    uint32_t ahead = producer - ring->cons;

    if (ahead > (uint32_t)(ring->published - ring->cons)) {
        Broken("response", producer, ring->cons);
        return -1;
    }
    return (int)ahead;
}

static PyObject *Front_consume(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    PyObject *copy;
    int ahead;

    if (!Ring_ready(ring))
        return NULL;
    ahead = Front_ahead(ring, ring_load(&ring->shared->rsp_prod));
    if (ahead < 0)
        return NULL;
    if (!ahead)
        Py_RETURN_NONE;
    copy = PyBytes_FromStringAndSize((char *)ring_slot(ring, ring->cons), ring->response_size);
    if (copy)
        ring->cons++;
    return copy;
}

static PyObject *Front_final_check(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    int ahead;

    if (!Ring_ready(ring))
        return NULL;
    ahead = Front_ahead(ring, ring_load(&ring->shared->rsp_prod));
    if (!ahead)
        ahead = Front_ahead(
            ring, ring_rearm(&ring->shared->rsp_event, &ring->shared->rsp_prod, ring->cons));
    return ahead < 0 ? NULL : PyBool_FromLong(ahead);
}

static PyObject *Front_spin(Ring *ring, PyObject *nanoseconds)
{
    return Ring_ready(ring) ? spin(ring, &ring->shared->rsp_prod, nanoseconds) : NULL;
}

/* --- back -------------------------------------------------------------------------------- */

/* Requests the frontend has published; more than a ring full beyond our answers cannot be. */
static int Back_ahead(Ring *ring, uint32_t producer)
{
    if ((uint32_t)(producer - ring->prod) > ring->size ||
        (uint32_t)(producer - ring->prod) < (uint32_t)(ring->cons - ring->prod)) {
        Broken("request", producer, ring->cons);
        return -1;
    }
    return (int)(producer - ring->cons);
}

static PyObject *Back_consume(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    PyObject *copy;
    int ahead;

    if (!Ring_ready(ring))
        return NULL;
    ahead = Back_ahead(ring, ring_load(&ring->shared->req_prod));
    if (ahead < 0)
        return NULL;
    if (!ahead)
        Py_RETURN_NONE;
    copy = PyBytes_FromStringAndSize((char *)ring_slot(ring, ring->cons), ring->request_size);
    if (copy)
        ring->cons++;
    return copy;
}

static PyObject *Back_produce(Ring *ring, PyObject *data)
{
    if (!Ring_ready(ring))
        return NULL;
    if (ring->prod == ring->cons) {
        PyErr_SetString(RingFullError, "no request is left to be answered");
        return NULL;
    }
    return store_slot(ring, data, ring->response_size);
}

static PyObject *Back_push(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    uint32_t old = ring->published;

    if (!Ring_ready(ring))
        return NULL;
    ring->published = ring->prod;
    return PyBool_FromLong(
        ring_publish(&ring->shared->rsp_prod, &ring->shared->rsp_event, old, ring->prod));
}

static PyObject *Back_final_check(Ring *ring, PyObject *Py_UNUSED(ignored))
{
    int ahead;

    if (!Ring_ready(ring))
        return NULL;
    ahead = Back_ahead(ring, ring_load(&ring->shared->req_prod));
    if (!ahead)
        ahead = Back_ahead(
            ring, ring_rearm(&ring->shared->req_event, &ring->shared->req_prod, ring->cons));
    return ahead < 0 ? NULL : PyBool_FromLong(ahead);
}

static PyObject *Back_spin(Ring *ring, PyObject *nanoseconds)
{
    return Ring_ready(ring) ? spin(ring, &ring->shared->req_prod, nanoseconds) : NULL;
}

/* --- both -------------------------------------------------------------------------------- */

static PyObject *get_size(Ring *ring, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(ring->size);
}

static PyObject *get_slot_size(Ring *ring, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(ring->slot_size);
}

/* Of what was given; it keeps the page from being unmapped until it is released. */
static PyObject *get_page(Ring *ring, void *Py_UNUSED(closure))
{
    return Ring_ready(ring) ? PyMemoryView_FromObject(ring->buffer.obj) : NULL;
}

static PyObject *get_prod(Ring *ring, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(ring->prod);
}

static PyObject *get_cons(Ring *ring, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(ring->cons);
}

static PyObject *get_free(Ring *ring, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(ring->size - (uint32_t)(ring->prod - ring->cons));
}

static PyObject *get_counters(Ring *ring, void *Py_UNUSED(closure))
{
    return Py_BuildValue("(KKKK)", ring->counters[0], ring->counters[1], ring->counters[2],
                         ring->counters[3]);
}

static PyMethodDef front_methods[] = {
    {"produce", (PyCFunction)Front_produce, METH_O, "Write one request; RingFull without a slot."},
    {"push", (PyCFunction)Front_push, METH_NOARGS, "Publish; whether the backend must be woken."},
    {"consume", (PyCFunction)Front_consume, METH_NOARGS, "A copy of the next response, or None."},
    {"final_check", (PyCFunction)Front_final_check, METH_NOARGS,
     "Ask to be woken; whether responses came meanwhile."},
    {"spin", (PyCFunction)Front_spin, METH_O,
     "Look for a response for that many nanoseconds; whether there is one."},
    {"release", (PyCFunction)Ring_release, METH_NOARGS, "Let go of the page."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef back_methods[] = {
    {"consume", (PyCFunction)Back_consume, METH_NOARGS, "A copy of the next request, or None."},
    {"produce", (PyCFunction)Back_produce, METH_O, "Write one response."},
    {"push", (PyCFunction)Back_push, METH_NOARGS, "Publish; whether the frontend must be woken."},
    {"final_check", (PyCFunction)Back_final_check, METH_NOARGS,
     "Ask to be woken; whether requests came meanwhile."},
    {"spin", (PyCFunction)Back_spin, METH_O,
     "Look for a request for that many nanoseconds; whether there is one."},
    {"release", (PyCFunction)Ring_release, METH_NOARGS, "Let go of the page."},
    {"serve", (PyCFunction)(void (*)(void))BackRing_serve, METH_FASTCALL,
     "serve(cache, fd, sectors, readonly, limit) -> (served, odd request or None)."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef front_getset[] = {
    {"size", (getter)get_size, NULL, "Number of slots.", NULL},
    {"slot_size", (getter)get_slot_size, NULL, "Bytes from one slot to the next.", NULL},
    {"page", (getter)get_page, NULL, "A view of the shared page; whoever takes it releases it.",
     NULL},
    {"free", (getter)get_free, NULL, "Slots that may be produced into.", NULL},
    {"req_prod_pvt", (getter)get_prod, NULL, "Private producer index.", NULL},
    {"rsp_cons", (getter)get_cons, NULL, "Private consumer index.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef back_getset[] = {
    {"size", (getter)get_size, NULL, "Number of slots.", NULL},
    {"slot_size", (getter)get_slot_size, NULL, "Bytes from one slot to the next.", NULL},
    {"page", (getter)get_page, NULL, "A view of the shared page; whoever takes it releases it.",
     NULL},
    {"rsp_prod_pvt", (getter)get_prod, NULL, "Private producer index.", NULL},
    {"req_cons", (getter)get_cons, NULL, "Private consumer index.", NULL},
    {"counters", (getter)get_counters, NULL, "Reads, writes, sectors read, sectors written.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject FrontRingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hvsim._native.FrontRing",
    .tp_doc = "The requesting half of a ring; twin of hvsim.domain.ring.PyFrontRing.",
    .tp_basicsize = sizeof(Ring),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Front_init,
    .tp_dealloc = (destructor)Ring_dealloc,
    .tp_methods = front_methods,
    .tp_getset = front_getset,
};

PyTypeObject BackRingType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hvsim._native.BackRing",
    .tp_doc = "The answering half of a ring; twin of hvsim.domain.ring.PyBackRing.",
    .tp_basicsize = sizeof(Ring),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Back_init,
    .tp_dealloc = (destructor)Ring_dealloc,
    .tp_methods = back_methods,
    .tp_getset = back_getset,
};
