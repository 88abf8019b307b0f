"""Event channels: ports, their states, and the wires under them.

A wire is two doorbells, made when a port is bound for the first time: until then a port costs no
descriptor, so that a domain may have as many as Xen's FIFO ABI has. The binder gets the bells at
once, and crossed; the other end's process is told to fetch its own. When one end closes, the other
is unbound again *for the same domain*, and keeps the wire: so the descriptors of a wire never reach
a third domain. The last end to go takes the wire away.

In direct mode ``tx`` of one end is ``rx`` of the other and the hypervisor is not on the way. In
mediated mode an end is given a third bell instead of ``tx``, its *inlet*, which the hypervisor
listens to.

Source: xen/event_channel.h; checks in the order of Xen's common/event_channel.c.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hvsim.abi.errno import EEXIST, EINVAL, ENOSPC
from hvsim.abi.event_channel import (
    EVTCHN_FIFO_NR_CHANNELS,
    NR_VIRQS,
    EVTCHNSTAT_closed,
    EVTCHNSTAT_interdomain,
    EVTCHNSTAT_unbound,
    EVTCHNSTAT_virq,
)
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Doorbell
from hvsim.hypervisor.names import Names
from hvsim.wire.answers import PortStatus

MAX_PORTS: Final = 1023
"""Ports of a guest: xl's default for ``event_channels``."""
MAX_PORTS_DOM0: Final = EVTCHN_FIFO_NR_CHANNELS - 1
"""Ports of dom0: all that there are, without port 0."""
PER_BUCKET: Final = 64
"""Ports that Xen makes room for at a time (EVTCHNS_PER_BUCKET)."""


@dataclass(slots=True, eq=False)
class Port:
    """One end.

    Attributes:
        number: from 1; the lowest free one is taken, as in Xen.
        state: EVTCHNSTAT_unbound, _interdomain or _virq.
        token: the process that it belongs to; None until the domain has one.
        remote: the domain that may bind, or is bound.
        peer: the other end while bound.
        rx, tx: the bell that rings here, and the one that rings there; None before there is a wire.
        delivered: whether its process knows it, with the descriptors that are in force.
        inlet: the hypervisor's own ear, while mediated or until direct ones were fetched.
    """

    domid: int
    number: int
    state: int
    token: int | None
    rx: Doorbell | None
    tx: Doorbell | None = None
    remote: int = -1
    peer: "Port | None" = None
    virq: int = -1
    vcpu: int = 0
    masked: bool = False
    pending: bool = False
    delivered: bool = True
    mediated: bool = False
    inlet: Doorbell | None = None

    @property
    def given_tx(self) -> Doorbell | None:
        """The bell that the process rings."""
        return self.inlet if self.mediated else self.tx

    def ring(self) -> None:
        """An event arrives at this end; it is held back while masked."""
        if self.masked:
            self.pending = True
        elif self.rx is not None:
            self.rx.ring()

    def status(self) -> PortStatus:
        """The members of ``evtchn_status``."""
        return {
            "status": self.state,
            "vcpu": self.vcpu,
            "remote_dom": self.remote,
            "remote_port": self.peer.number if self.peer is not None else -1,
            "virq": self.virq,
        }


class EventTable:
    """The ports of one domain, and the rules for them.

    Args:
        make_bell: makes a doorbell; may raise OSError, nothing has changed then.
        names: told which domains ports are for.
    """

    def __init__(
        self,
        domid: int,
        make_bell: Callable[[], Doorbell],
        names: Names,
        limit: int = MAX_PORTS,
    ) -> None:
        self.domid = domid
        self.ports: dict[int, Port] = {}
        self._owned: dict[int | None, dict[int, Port]] = {}
        self._towards: dict[int, dict[int, Port]] = {}
        self._make_bell = make_bell
        self._names = names
        self._limit = limit
        self._next = 1
        self._freed: list[int] = []
        self._virqs: dict[int, Port] = {}

    def port(self, number: int) -> Port:
        """An open port. Raises XenError(EINVAL)."""
        port = self.ports.get(number)
        if port is None:
            raise XenError(EINVAL)
        return port

    def status(self, number: int) -> PortStatus:
        """The members of ``evtchn_status``: of a port that is not open, that it is closed.

        Raises: XenError(EINVAL) for one past all that there is room for (``d->valid_evtchns``).
        """
        port = self.ports.get(number)
        if port is not None:
            return port.status()
        if not 0 <= number < -(-self._next // PER_BUCKET) * PER_BUCKET:
            raise XenError(EINVAL)
        return {
            "status": EVTCHNSTAT_closed,
            "vcpu": 0,
            "remote_dom": -1,
            "remote_port": -1,
            "virq": -1,
        }

    def alloc_unbound(self, remote: int, token: int | None) -> Port:
        """A port that domain *remote* may bind to; it need not exist.

        Raises: XenError(ENOSPC).
        """
        self._check_room()
        return self._open(EVTCHNSTAT_unbound, token, None, remote=remote)

    def bind_interdomain(self, other: "EventTable", number: int, token: int | None) -> Port:
        """Bind a new port to *number* of *other*; the new one is pending at once, and the other
        one's process has to fetch when it was never bound before.

        Raises: XenError: EINVAL when that port does not wait for this domain, ENOSPC; OSError.
        """
        self._check_room()
        peer = other.ports.get(number)
        if peer is None or peer.state != EVTCHNSTAT_unbound or peer.remote != self.domid:
            raise XenError(EINVAL, f"d{self.domid} may not bind to port {number} of d{other.domid}")
        if peer.rx is None:
            rx = self._make_bell()
            try:
                peer.tx = self._make_bell()
            except OSError:
                rx.close()
                raise
            peer.rx = rx
            peer.delivered = False
        port = self._open(
            EVTCHNSTAT_interdomain, token, peer.tx, tx=peer.rx, remote=other.domid, peer=peer
        )
        peer.state = EVTCHNSTAT_interdomain
        peer.peer = port
        port.ring()
        return port

    def bind_virq(self, virq: int, vcpu: int, token: int | None) -> Port:
        """Bind a virtual interrupt.

        Raises: XenError: EINVAL no such interrupt or vCPU, EEXIST bound already, ENOSPC; OSError.
        """
        if not 0 <= virq < NR_VIRQS or vcpu != 0:
            raise XenError(EINVAL)
        if virq in self._virqs:
            raise XenError(EEXIST)
        self._check_room()
        port = self._open(EVTCHNSTAT_virq, token, self._make_bell(), virq=virq, vcpu=vcpu)
        self._virqs[virq] = port
        return port

    def raise_virq(self, virq: int) -> bool:
        """Ring a virtual interrupt; False when nobody has bound it."""
        port = self._virqs.get(virq)
        if port is None:
            return False
        port.ring()
        return True

    def close(self, number: int) -> Port:
        """Close a port; its peer is unbound then. The caller ends the mediation of it first.

        Raises: XenError(EINVAL).
        """
        port = self.port(number)
        del self.ports[number]
        del self._owned[port.token][number]
        if port.remote >= 0:
            towards = self._towards[port.remote]
            del towards[number]
            if not towards:
                del self._towards[port.remote]
            self._names.drop(port.remote)
        heapq.heappush(self._freed, number)
        if port.state == EVTCHNSTAT_virq:
            del self._virqs[port.virq]
        if port.peer is None:
            for bell in (port.rx, port.tx):
                if bell is not None:
                    bell.close()
        else:
            peer = port.peer
            peer.state = EVTCHNSTAT_unbound
            peer.peer = port.peer = None
        return port

    def mask(self, number: int) -> None:
        """Hold events back. Raises XenError(EINVAL)."""
        self.port(number).masked = True

    def unmask(self, number: int) -> None:
        """Let events through, at once one that was held back. Raises XenError(EINVAL)."""
        port = self.port(number)
        port.masked = False
        if port.pending:
            port.pending = False
            port.ring()

    def of_process(self, token: int | None) -> dict[int, Port]:
        """The ports of one process, or those of none, by number."""
        return self._owned.get(token, {})

    def towards(self, domid: int) -> dict[int, Port]:
        """The ports that are for one other domain, by number."""
        return self._towards.get(domid, {})

    def give(self, port: Port, token: int) -> None:
        """A port of no process is that of *token* from now on."""
        del self._owned[port.token][port.number]
        port.token = token
        self._owned.setdefault(token, {})[port.number] = port

    def forget(self, token: int) -> None:
        """A process that has no port left is gone."""
        self._owned.pop(token, None)

    def _check_room(self) -> None:
        if len(self.ports) >= self._limit:
            raise XenError(ENOSPC, f"{self._limit} event channels is the limit")

    def _open(
        self,
        state: int,
        token: int | None,
        rx: Doorbell | None,
        tx: Doorbell | None = None,
        remote: int = -1,
        peer: Port | None = None,
        virq: int = -1,
        vcpu: int = 0,
    ) -> Port:
        if self._freed:
            number = heapq.heappop(self._freed)
        else:
            number = self._next
            self._next += 1
        port = Port(self.domid, number, state, token, rx, tx, remote, peer, virq, vcpu)
        self.ports[number] = port
        self._owned.setdefault(token, {})[number] = port
        if port.remote >= 0:
            self._names.hold(port.remote)
            self._towards.setdefault(port.remote, {})[number] = port
        return port
