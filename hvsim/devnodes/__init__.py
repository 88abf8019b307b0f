"""Xen's device nodes for a program of the machine: what Linux' drivers do, in a process.

A program is not rewritten: the libraries libxenevtchn, libxengnttab, libxencall ... stay as they
are, and a small preloaded library (library/) takes their ``open``, ``ioctl`` and ``mmap`` of
/dev/xen/* and passes them on to here, to the process that started the program and stands for its
kernel.

    server.py    the door, and a socket for each process of the program
    wire.py      what goes over that socket
    caller.py    the memory of the calling process (copy_from_user, copy_to_user)
    node.py      what all open files have in common; areas that a process has mapped
    evtchn.py    gntdev.py    gntalloc.py    privcmd.py    a node each
    ports.py     ports that outlive their file, for unmap notifications
    hypercalls/  the arguments of hypercalls that come through privcmd

What a program may do is what its domain may: every call ends in a hypercall of that domain.
Sources: drivers/xen/evtchn.c, gntdev.c, gntalloc.c and privcmd.c of Linux for the errnos.
"""
