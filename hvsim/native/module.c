/* hvsim._native: the optional compiled helper.  See hvsim/native/__init__.py. */
#include "module.h"

PyObject *RingBrokenError, *RingFullError;

static PyObject *native_fence(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    ring_fence();
    Py_RETURN_NONE;
}

static PyObject *set_errors(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *broken, *full;

    if (!PyArg_ParseTuple(args, "OO", &broken, &full))
        return NULL;
    if (!PyExceptionClass_Check(broken) || !PyExceptionClass_Check(full)) {
        PyErr_SetString(PyExc_TypeError, "set_errors takes two exception classes");
        return NULL;
    }
    Py_INCREF(broken);
    Py_INCREF(full);
    Py_XSETREF(RingBrokenError, broken);
    Py_XSETREF(RingFullError, full);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"set_errors", set_errors, METH_VARARGS,
     "set_errors(RingBroken, RingFull): the exception classes that the rings raise."},
    {"fence", native_fence, METH_NOARGS, "A full memory barrier."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hvsim._native",
    .m_doc = "Compiled ring index work, block batch service, clock and wait.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);

    if (!module)
        return NULL;
    /* Until hvsim.domain.ring names its own classes. */
    RingBrokenError = Py_NewRef(PyExc_RuntimeError);
    RingFullError = Py_NewRef(PyExc_RuntimeError);
    if (PyModule_AddType(module, &FrontRingType) < 0 ||
        PyModule_AddType(module, &BackRingType) < 0 ||
        PyModule_AddType(module, &GrantCacheType) < 0 ||
        PyModule_AddType(module, &ClockType) < 0 ||
        PyModule_AddType(module, &WaitType) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
