"""/dev/xen/evtchn: event channels of a program.

The program reads ports that have rung, one message of 4 bytes each, and writes one back to hear of
it again: so a file never has more messages on their way than ports.

Source: Linux drivers/xen/evtchn.c.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hvsim.abi import devices as abi
from hvsim.abi.event_channel import EVTCHN_2L_NR_CHANNELS, VIRQ_DEBUG, VIRQ_TIMER
from hvsim.abi.hypercall import DOMID_FIRST_RESERVED
from hvsim.devnodes.node import EVTCHN, Ioctl, NodeFile, Result
from hvsim.devnodes.ports import Ports

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

MAX_WRITE: Final = 4096
"""Bytes of one write that are looked at: a page, as in Linux."""
_PORT: Final = struct.Struct("=I")


class EvtchnFile(NodeFile):
    """One open file of the node."""

    kind = EVTCHN
    unknown = errno.ENOSYS
    readable = True

    def __init__(self, dom: Domain, on_closed: Callable[[], None], ports: Ports) -> None:
        super().__init__(dom, on_closed)
        self._registry = ports
        self._ports: set[int] = set()
        self._virqs: set[int] = set()
        self._deaf: set[int] = set()
        self._rung: set[int] = set()
        self._unsent: dict[int, None] = {}
        self._restrict: int | None = None
        self._commands: dict[int, Callable[[Ioctl], int]] = {
            abi.IOCTL_EVTCHN_BIND_VIRQ: self._bind_virq,
            abi.IOCTL_EVTCHN_BIND_INTERDOMAIN: self._bind_interdomain,
            abi.IOCTL_EVTCHN_BIND_UNBOUND_PORT: self._bind_unbound,
            abi.IOCTL_EVTCHN_UNBIND: self._unbind,
            abi.IOCTL_EVTCHN_NOTIFY: self._notify,
            abi.IOCTL_EVTCHN_RESET: self._reset,
            abi.IOCTL_EVTCHN_RESTRICT_DOMID: self._restrict_domid,
        }

    def knows(self, command: int) -> bool:
        return command in self._commands

    def ioctl(self, call: Ioctl) -> Result:
        return Result(self._commands[call.command](call))

    # -- commands -------------------------------------------------------------------------------

    def _bind_virq(self, call: Ioctl) -> int:
        (virq,) = abi.EVTCHN_BIND_VIRQ.unpack(call.data)
        self._allow(None)
        if virq in (VIRQ_TIMER, VIRQ_DEBUG):
            raise OSError(errno.EEXIST, "the kernel's own")
        port = self._adopt(lambda rung: self.dom.events.bind_virq(virq, rung))
        self._virqs.add(port)
        return port

    def _bind_interdomain(self, call: Ioctl) -> int:
        remote, number = abi.EVTCHN_BIND_INTERDOMAIN.unpack(call.data)
        self._allow(remote)
        return self._adopt(lambda rung: self.dom.events.bind_interdomain(remote, number, rung))

    def _bind_unbound(self, call: Ioctl) -> int:
        (remote,) = abi.EVTCHN_BIND_UNBOUND.unpack(call.data)
        self._allow(remote)
        return self._adopt(lambda rung: self.dom.events.alloc_unbound(remote, rung))

    def _unbind(self, call: Ioctl) -> int:
        (port,) = abi.EVTCHN_UNBIND.unpack(call.data)
        if port >= EVTCHN_2L_NR_CHANNELS:
            raise OSError(errno.EINVAL, "no such port")
        self._check(port)
        self._leave(port)
        return 0

    def _notify(self, call: Ioctl) -> int:
        (port,) = abi.EVTCHN_NOTIFY.unpack(call.data)
        self._check(port)
        if port not in self._virqs:
            self.dom.events.notify(port)
        return 0

    def _reset(self, call: Ioctl) -> int:
        """Forget what the program has not read.  Its ports stay deaf until they are written back;
        messages in the socket are the library's to drop."""
        self._unsent.clear()
        return 0

    def _restrict_domid(self, call: Ioctl) -> int:
        (domid,) = abi.EVTCHN_RESTRICT.unpack(call.data)
        if self._restrict is not None:
            raise OSError(errno.EACCES, "restricted already")
        if not 0 < domid < DOMID_FIRST_RESERVED:
            raise OSError(errno.EINVAL, "no domain")
        self._restrict = domid
        return 0

    def _allow(self, remote: int | None) -> None:
        if self._restrict is not None and remote != self._restrict:
            raise OSError(errno.EACCES, f"restricted to d{self._restrict}")

    def _check(self, port: int) -> None:
        if port not in self._ports:
            raise OSError(errno.ENOTCONN, "not bound through this file")

    def _adopt(self, bind: Callable[[Callable[[], None]], int]) -> int:
        """Bind a port; what has come for it already is heard at once."""
        number: list[int] = []
        port = bind(lambda: self._ring(number[0]))
        number.append(port)
        self._ports.add(port)
        self._registry.bound(port)
        return port

    def _leave(self, port: int) -> None:
        self._ports.discard(port)
        for some in (self._virqs, self._deaf, self._rung):
            some.discard(port)
        self._unsent.pop(port, None)
        self._registry.let_go(port)

    # -- events ---------------------------------------------------------------------------------

    def _ring(self, port: int) -> None:
        if port not in self._ports:
            return  # left open for a notification
        if port in self._deaf:
            self._rung.add(port)
            return
        self._deaf.add(port)
        if self._unsent or not self._send(port):
            self._unsent[port] = None
            self.dom.vcpu.modify_fd(self.stream.fileno(), write=True)

    def _send(self, port: int) -> bool:
        try:
            self.stream.send(_PORT.pack(port))
        except BlockingIOError:
            return False
        except OSError:
            return True  # closed; that is heard of soon
        return True

    def room(self) -> None:
        if not self._unsent:
            return
        while self._unsent:
            port = next(iter(self._unsent))
            if not self._send(port):
                return
            del self._unsent[port]
        self.dom.vcpu.modify_fd(self.stream.fileno(), write=False)

    def written(self, data: bytes) -> None:
        """Ports that may be heard again."""
        size = min(len(data), MAX_WRITE) & ~3
        for (port,) in _PORT.iter_unpack(data[:size]):
            if port in self._deaf and port not in self._unsent:
                self._deaf.discard(port)
                if port in self._rung:
                    self._rung.discard(port)
                    self._ring(port)

    def release(self) -> None:
        for port in list(self._ports):
            self._leave(port)
