"""The public Xen interface as data: layouts, constants and error numbers, and no I/O.

One module per public header, with the header's own names (a leading ``__`` is dropped, because
Python would mangle it inside a class). Every value is compared with the real headers by
``tests/abi``. Commands that real Xen does not have are ours; they are all in
:mod:`hvsim.abi.hypercall` and begin with ``HVSIM_``.
"""
