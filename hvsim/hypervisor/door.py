"""The owner's door: the one socket at which the hypervisor can be asked from outside of a domain.

When dom0's toolstack is dead, stopped or busy, its owner still wants to know what there is and who
stands still, and to kill, stop or continue any process of the lab. ``<run>/hypervisor`` speaks the
wire of hypercalls for that, and serves only the few that look, and the faults: nothing that its
owner could not learn from /proc, or do with kill(1), if pids were names.

Who may come in: the lab's own people (``hvsim.wire.peer``), never a domain's process.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

from hvsim.abi.domctl import (
    XEN_DOMCTL_getdomaininfo,
    XEN_SYSCTL_getdomaininfolist,
    XEN_SYSCTL_physinfo,
    XEN_SYSCTL_readconsole,
)
from hvsim.abi.errno import EPERM
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_list,
    HVSIM_DOMCTL_fault_remove,
    HVSIM_DOMCTL_peek,
    HVSIM_SYSCTL_advance,
    HVSIM_SYSCTL_holdings,
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_ledger_news,
    HVSIM_SYSCTL_processes,
    HVSIM_SYSCTL_tape,
    HYPERVISOR_domctl,
    HYPERVISOR_sysctl,
    HYPERVISOR_xen_version,
    XENVER_extraversion,
    XENVER_version,
)
from hvsim.hypervisor.dispatch import Dispatcher, Objects
from hvsim.hypervisor.domains import Process
from hvsim.wire.packing import unpack
from hvsim.wire.peer import credentials, is_trusted

MAX_VISITORS: Final = 64
"""Connections at a time; who comes then is turned away."""
_BACKLOG: Final = 16
_SERVED: Final = frozenset(
    {
        (HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist),
        (HYPERVISOR_sysctl, XEN_SYSCTL_physinfo),
        (HYPERVISOR_sysctl, XEN_SYSCTL_readconsole),
        (HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger),
        (HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger_news),
        (HYPERVISOR_sysctl, HVSIM_SYSCTL_processes),
        (HYPERVISOR_sysctl, HVSIM_SYSCTL_holdings),
        (HYPERVISOR_sysctl, HVSIM_SYSCTL_advance),
        (HYPERVISOR_sysctl, HVSIM_SYSCTL_tape),
        (HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo),
        (HYPERVISOR_domctl, HVSIM_DOMCTL_fault),
        (HYPERVISOR_domctl, HVSIM_DOMCTL_fault_add),
        (HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list),
        (HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove),
        (HYPERVISOR_domctl, HVSIM_DOMCTL_peek),
        (HYPERVISOR_xen_version, XENVER_version),
        (HYPERVISOR_xen_version, XENVER_extraversion),
    }
)
_CLEARS: Final = [HYPERVISOR_sysctl, XEN_SYSCTL_readconsole, True]


class Visits(Dispatcher):
    """Serves those hypercalls, and refuses all others with -EPERM."""

    def serve(self, process: Process, request: bytes | memoryview) -> tuple[bytes, Objects] | None:
        """As ``Dispatcher.serve``."""
        with contextlib.suppress(Exception):  # what is no message is refused as one
            message = unpack(request)
            if tuple(message[:2]) in _SERVED and message != _CLEARS:
                return super().serve(process, request)
        return self.pack([-EPERM]), []

    def _refuse(
        self, process: Process, call: int, cmd: int, errno: int, why: str
    ) -> tuple[bytes, Objects]:
        """As ``Dispatcher`` does; the owner is told why as well."""
        super()._refuse(process, call, cmd, errno, why)
        return self.pack([-errno, why] if why else [-errno]), []


class Door:
    """The listening socket at *path*, which appears when it is open.

    *enter* gets each visitor's connected socket, without blocking. Raises OSError.

    Attributes:
        visitors: how many are inside; whoever serves them takes off those that have left.
    """

    def __init__(self, path: str, enter: Callable[[socket.socket], None]) -> None:
        self.visitors = 0
        self._path = path
        self._enter = enter
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            before = os.umask(0o177)
            try:
                self._socket.bind(path)
            finally:
                os.umask(before)
            self._socket.listen(_BACKLOG)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when somebody has knocked."""
        return self._socket.fileno()

    def answer(self, _events: int) -> None:
        """Let the next visitor in."""
        try:
            visitor, _ = self._socket.accept()
        except OSError:
            return  # gone again, or no descriptor is left for it: it may knock once more
        visitor.setblocking(False)
        if self.visitors >= MAX_VISITORS or not is_trusted(credentials(visitor)):
            visitor.close()
            return
        self.visitors += 1
        self._enter(visitor)

    def close(self) -> None:
        """Nobody comes in any more."""
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
