/* GrantCache: which grant references of a frontend are mapped where; read by the batch service. */
#include "module.h"

#include <stdlib.h>

static int Cache_init(GrantCache *cache, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"capacity", NULL};
    unsigned capacity = 32768;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|I", names, &capacity))
        return -1;
    if (cache->slots || !capacity || capacity > (1u << 20)) {
        PyErr_SetString(PyExc_ValueError, "capacity is 1 to 1048576 references, set once");
        return -1;
    }
    /* calloc of this size is untouched zero pages: a table costs what is used of it. */
    cache->slots = calloc(capacity, sizeof(*cache->slots));
    if (!cache->slots) {
        PyErr_NoMemory();
        return -1;
    }
    cache->capacity = capacity;
    return 0;
}

static void Cache_dealloc(GrantCache *cache)
{
    free(cache->slots);
    Py_TYPE(cache)->tp_free((PyObject *)cache);
}

static struct grant_slot *Cache_slot(GrantCache *cache, unsigned long ref)
{
    if (cache->slots && ref < cache->capacity)
        return &cache->slots[ref];
    PyErr_SetString(PyExc_KeyError, "a grant reference beyond the table");
    return NULL;
}

static PyObject *Cache_add(GrantCache *cache, PyObject *args)
{
    unsigned long ref;
    unsigned long long address;
    int writable;
    struct grant_slot *slot;

    if (!PyArg_ParseTuple(args, "kKp", &ref, &address, &writable))
        return NULL;
    slot = Cache_slot(cache, ref);
    if (!slot)
        return NULL;
    if (!address) {
        PyErr_SetString(PyExc_ValueError, "a mapping has an address");
        return NULL;
    }
    cache->used += !slot->address;
    slot->address = (uint8_t *)(uintptr_t)address;
    slot->writable = writable;
    slot->stamp = ++cache->clock;
    Py_RETURN_NONE;
}

static PyObject *Cache_drop(GrantCache *cache, PyObject *arg)
{
    unsigned long ref = PyLong_AsUnsignedLong(arg);
    struct grant_slot *slot;

    if (PyErr_Occurred())
        return NULL;
    slot = Cache_slot(cache, ref);
    if (!slot)
        return NULL;
    cache->used -= slot->address != NULL;
    slot->address = NULL;
    Py_RETURN_NONE;
}

static PyObject *Cache_touch(GrantCache *cache, PyObject *arg)
{
    unsigned long ref = PyLong_AsUnsignedLong(arg);
    struct grant_slot *slot;

    if (PyErr_Occurred())
        return NULL;
    slot = Cache_slot(cache, ref);
    if (!slot)
        return NULL;
    slot->stamp = ++cache->clock;
    Py_RETURN_NONE;
}

static PyObject *Cache_stamp(GrantCache *cache, PyObject *arg)
{
    unsigned long ref = PyLong_AsUnsignedLong(arg);
    struct grant_slot *slot;

    if (PyErr_Occurred())
        return NULL;
    slot = Cache_slot(cache, ref);
    return slot ? PyLong_FromUnsignedLongLong(slot->address ? slot->stamp : 0) : NULL;
}

static Py_ssize_t Cache_length(GrantCache *cache)
{
    return (Py_ssize_t)cache->used;
}

static PyMethodDef methods[] = {
    {"add", (PyCFunction)Cache_add, METH_VARARGS, "add(ref, address, writable)"},
    {"drop", (PyCFunction)Cache_drop, METH_O, "Forget a reference, before it is unmapped."},
    {"touch", (PyCFunction)Cache_touch, METH_O, "Note a use of a reference."},
    {"stamp", (PyCFunction)Cache_stamp, METH_O, "When it was last used: greater is later."},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods sequence = {.sq_length = (lenfunc)Cache_length};

PyTypeObject GrantCacheType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hvsim._native.GrantCache",
    .tp_doc = "Mapped grants of one frontend device, by reference.",
    .tp_basicsize = sizeof(GrantCache),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)Cache_init,
    .tp_dealloc = (destructor)Cache_dealloc,
    .tp_methods = methods,
    .tp_as_sequence = &sequence,
};
