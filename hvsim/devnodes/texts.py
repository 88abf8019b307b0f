"""The files of /proc/xen and /sys/hypervisor: texts, and dom0's store page.

Source: Linux drivers/xen/xenfs/super.c, xenfs/xenstored.c and sys-hypervisor.c.
"""

from __future__ import annotations

import errno
import fcntl
import os
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from hvsim.abi.hypercall import (
    HVSIM_MEM_get_extent,
    HYPERVISOR_memory_op,
    HYPERVISOR_xen_version,
    XENVER_extraversion,
    XENVER_version,
)

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain


class File(IntEnum):
    """Which file, as ``native/nodes/paths.c`` says it."""

    CAPABILITIES = 0
    XSD_PORT = 1
    XSD_KVA = 2
    TYPE = 3
    GUEST_TYPE = 4
    MAJOR = 5
    MINOR = 6
    EXTRA = 7
    DIRECTORY = 8


_DOM0_ONLY: Final = frozenset({File.XSD_PORT, File.XSD_KVA})


def open_file(dom: Domain, which: int) -> int:
    """A descriptor of a file for a program; the caller closes it.

    Raises: OSError: ENOENT no such file, or none of this domain's; HypercallError.
    """
    if which not in list(File) or (which in _DOM0_ONLY and dom.domid != 0):
        raise OSError(errno.ENOENT, f"file {which} of d{dom.domid}")
    if which == File.DIRECTORY:
        return _directory()
    if which == File.XSD_KVA:
        return _store_page(dom)
    return _text_file(_text(dom, File(which)))


def _text(dom: Domain, file: File) -> str:
    if file is File.CAPABILITIES:
        return "control_d\n" if dom.domid == 0 else ""
    if file is File.XSD_PORT:
        return str(dom.start_info["store_port"])  # no newline, as Linux has none
    if file is File.TYPE:
        return "xen\n"
    if file is File.GUEST_TYPE:
        return "PV\n"
    if file is File.EXTRA:
        return f"{dom.hypercall.ask(str, HYPERVISOR_xen_version, XENVER_extraversion)}\n"
    version = dom.hypercall.ask(int, HYPERVISOR_xen_version, XENVER_version)
    return f"{version >> 16 if file is File.MAJOR else version & 0xFFFF}\n"


def _directory() -> int:
    """An empty directory without a name: xen-detect opens /sys/hypervisor to see what it is."""
    import tempfile  # it brings random, which would act in every child of the spawner

    path = tempfile.mkdtemp(prefix="hvsim-")
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.rmdir(path)


def _store_page(dom: Domain) -> int:
    gfn = dom.start_info["store_gfn"]
    results, fds = dom.hypercall.call_fds(HYPERVISOR_memory_op, HVSIM_MEM_get_extent, gfn)
    if results[1] != gfn:
        for fd in fds:
            os.close(fd)
        raise OSError(errno.EIO, "the store page is not the first of its extent")
    return fds[0]


def _text_file(text: str) -> int:
    fd = os.memfd_create("xen", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.pwrite(fd, text.encode(), 0)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
