"""Files that a domain cannot see from behind its walls, and works on all the same.

The storage of a real driver domain is hardware, or what its own file system holds.  Here dom0 names
a file of the machine; the domain is given the descriptor, of that file and of no other.
"""

from typing import Final

from hvsim.abi.errno import EINVAL, EIO, ENOENT, ENOSPC
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_lend,
    HVSIM_OP_borrow,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
)
from hvsim.hypervisor.calls import Answer, Machine, Process, Result, hypercall
from hvsim.hypervisor.domains import ALIVE
from hvsim.hypervisor.errors import XenError

MAX_LENT: Final = 256
"""Files that one domain may have at a time."""


@hypercall(HYPERVISOR_domctl, HVSIM_DOMCTL_lend, int, str, str)
def lend(machine: Machine, caller: Process, dom: int, path: str, mode: str) -> Result:
    """(dom, path, "r" | "w" | ""): the domain may work on a file; "": no longer ask for it

    Opened here and now, so that a later file of that name is another one; the errno is that of
    open(2).
    """
    machine.privileged(caller)
    domain = machine.domain(dom, caller)
    if mode not in ("r", "w", "") or not path.startswith("/") or domain.dying != ALIVE:
        raise XenError(EINVAL, f"lend: {path[:100]!r}, mode {mode[:10]!r}")
    opened = {}
    if mode:
        if len(domain.lent) >= MAX_LENT:
            raise XenError(ENOSPC, f"d{domain.domid} has {MAX_LENT} files")
        try:
            opened[path, mode == "w"] = machine.host.open_file(path, mode == "w")
        except OSError as failure:
            raise XenError(failure.errno or EIO, f"lend: {failure}") from None
    for key in opened or ((path, False), (path, True)):
        known = domain.lent.pop(key, None)
        if known is not None:
            known.close()
    domain.lent |= opened
    return ()


@hypercall(HYPERVISOR_hvsim_op, HVSIM_OP_borrow, str, str)
def borrow(machine: Machine, caller: Process, path: str, mode: str) -> Result:
    """(path, "r" | "w"), with the descriptor of a file that dom0 lends the caller's domain"""
    file = caller.domain.lent.get((path, mode == "w"))
    if file is None or mode not in ("r", "w"):
        raise XenError(ENOENT)
    return Answer((), [file])
