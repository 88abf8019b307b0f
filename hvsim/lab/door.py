"""The owner's door of a running hypervisor, from outside: who is there, and a hand on anybody.

Nobody of dom0 is needed for it.  The hypervisor answers within a millisecond, or is dead or stopped
itself, which its record tells (``RunDir.hypervisor``).
"""

import os
import select
import socket
import time
from pathlib import Path
from typing import Any, Final

from hvsim.abi import domctl, errno
from hvsim.abi.hypercall import (
    MESSAGE_MAX,
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_fault_list,
    HVSIM_DOMCTL_peek,
    HVSIM_SYSCTL_holdings,
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_ledger_news,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_domctl,
    HYPERVISOR_sysctl,
)
from hvsim.errors import HvsimError
from hvsim.wire.closing import Closing
from hvsim.wire.packing import pack, unpack
from hvsim.wire.picture import HoldingsRow

TIMEOUT: Final = 0.2
"""Seconds that an answer may take; a call that waits for something has more."""
FAULT_TIMEOUT: Final = 6.0
"""Seconds until a process has stopped: one more than the hypervisor gives it."""
_LIST: Final = 128


class DoorError(HvsimError):
    """The hypervisor does not answer at its door, or refuses; the text says which.

    Attributes:
        errno: Xen's, when it refused; 0 when it did not answer.
    """

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.errno = number


class Door(Closing):
    """A visit; a context manager.  Raises: DoorError, here and in every call."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(str(path))
        except OSError as failure:
            self._socket.close()
            reason = os.strerror(failure.errno or 0)
            raise DoorError(f"the hypervisor's door {path}: {reason}") from None

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def call(self, call: int, cmd: int, *args: Any, timeout: float | None = None) -> Any:
        """One call; its one result."""
        try:
            self._socket.send(pack([call, cmd, *args]))
            reply = self._receive(self._timeout if timeout is None else timeout)
        except OSError as failure:
            raise DoorError(f"the hypervisor's door {self._path}: {failure.strerror}") from None
        if reply[0]:
            name = errno.name(-reply[0])
            why = f"{reply[1]} ({name})" if len(reply) > 1 and reply[1] else name
            raise DoorError(f"the hypervisor refuses: {why}", -reply[0])
        return reply[1] if len(reply) > 1 else None

    def _receive(self, timeout: float) -> list[Any]:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        deadline = time.monotonic() + timeout
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise DoorError(f"the hypervisor did not answer at its door within {timeout:g} s")
        data = self._socket.recv(MESSAGE_MAX)
        if not data:
            raise DoorError(f"the hypervisor closed its door {self._path}")
        reply: list[Any] = unpack(data, strict_map_key=False)
        return reply

    def domains(self) -> list[dict[str, Any]]:
        """Every domain, by number (``XEN_SYSCTL_getdomaininfolist``)."""
        found: list[dict[str, Any]] = []
        while True:
            first = found[-1]["domid"] + 1 if found else 0
            cmd = domctl.XEN_SYSCTL_getdomaininfolist
            rows = self.call(HYPERVISOR_sysctl, cmd, first, _LIST)
            found += rows
            if len(rows) < _LIST:
                return found

    def processes(self) -> list[dict[str, Any]]:
        """Every process of every domain (``HVSIM_SYSCTL_processes``)."""
        return list(self.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_processes))

    def holdings(self, domid: int) -> HoldingsRow:
        """Ports and grants of a domain (``HVSIM_SYSCTL_holdings``)."""
        row: HoldingsRow = self.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_holdings, domid)
        return row

    def rules(self) -> list[dict[str, Any]]:
        """Every rule of a fault that stands, by number (``HVSIM_DOMCTL_fault_list``)."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["rule"]["number"] if found else 0
            rows = self.call(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, after)
            if not rows:
                return found
            found += rows

    def peek(self, domid: int, ref: int, offset: int, length: int) -> bytes:
        """What stands in a page that a domain has granted (``HVSIM_DOMCTL_peek``)."""
        return bytes(self.call(HYPERVISOR_domctl, HVSIM_DOMCTL_peek, domid, ref, offset, length))

    def machine(self) -> dict[str, Any]:
        """The machine as a whole (``XEN_SYSCTL_physinfo``)."""
        return dict(self.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_physinfo))

    def console(self) -> str:
        """The hypervisor's own messages."""
        return str(self.call(HYPERVISOR_sysctl, domctl.XEN_SYSCTL_readconsole, False))

    def ledger(self, after: int, limit: int) -> list[dict[str, Any]]:
        """What was decided and why, from record *after* on."""
        return list(self.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, after, limit))

    def news(self, after: int) -> bool:
        """Wait until there is a record after number *after*, however long; False when the
        hypervisor has gone."""
        try:
            self._socket.send(pack([HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger_news, after]))
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.poll()
            return bool(self._socket.recv(MESSAGE_MAX))
        except OSError:
            return False

    def fault(self, domid: int, process: str, action: str) -> int:
        """Kill, stall or resume a process ("" is the main one); returns its pid."""
        cmd, args = HVSIM_DOMCTL_fault, (domid, process, action)
        return int(self.call(HYPERVISOR_domctl, cmd, *args, timeout=FAULT_TIMEOUT))
