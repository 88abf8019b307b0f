"""Event channels: "look again" between two domains.

A port is two doorbells that the hypervisor made when it was bound (``wire.doorbell``): one that
rings here (rx), one that rings there (tx).  In direct mode this tx is the other side's rx and no
process stands between them; in mediated mode the hypervisor listens to tx and decides.  When the
other side binds, or when it swaps the descriptors on a running domain, it rings the upcall, and
they are fetched.

Order of data and bell.  The producer's stores come before ``notify`` in program order.  To ring
takes the bell's spinlock in the kernel, a locked instruction and so a full barrier; the
consumer's ``epoll_wait`` takes the same lock to learn of it.  So whoever was woken by a
notify sees every store made before it.  This does *not* decide whether a notify may be left out:
that question ("has the consumer gone to sleep?") is a store followed by a load of another
location, and needs the fence in ``ring.py``.

Source: xen/event_channel.h.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from hvsim.abi import errno as xen_errno
from hvsim.abi.event_channel import (
    EVTCHNOP_alloc_unbound,
    EVTCHNOP_bind_interdomain,
    EVTCHNOP_bind_virq,
    EVTCHNOP_close,
    EVTCHNOP_send,
    EVTCHNOP_status,
    EVTCHNOP_unmask,
)
from hvsim.abi.hypercall import (
    DOMID_SELF,
    HVSIM_EVTCHN_fetch,
    HVSIM_EVTCHN_mask,
    HYPERVISOR_event_channel_op,
)
from hvsim.domain.hypercall import HypercallError, Hypercalls
from hvsim.domain.vcpu import VCPU, Handler
from hvsim.wire import doorbell
from hvsim.wire.answers import PortStatus
from hvsim.wire.typed import read

_OP: Final = HYPERVISOR_event_channel_op
_UNBOUND: Final = -1
"""In place of the descriptor of a port that has none yet."""


class EventChannels:
    """The event channels of this process.

    A handler takes nothing and returns nothing, is run by ``vcpu.dispatch()``, and may be run
    without a cause: it looks at what it shares with the peer.

    Args:
        upcall_fd: the bell that the hypervisor rings when descriptors wait to be fetched;
            owned from here on.
    """

    def __init__(self, hypercalls: Hypercalls, vcpu: VCPU, upcall_fd: int) -> None:
        self._hypercalls = hypercalls
        self._vcpu = vcpu
        self._upcall_fd = upcall_fd
        self._tx: dict[int, int] = {}
        self._rx: dict[int, int] = {}
        self._ring = doorbell.ring
        self.faults_changed = False
        """Whether rules of faults have come or gone that nobody has looked at."""
        self.on_faults: Callable[[], None] | None = None
        """Called when they have."""
        vcpu.add_upcall(upcall_fd, self.fetch)
        self.fetch()

    def ports(self) -> list[int]:
        """The open ports, in ascending order."""
        return sorted(self._rx)

    def close_all(self) -> None:
        """Close every descriptor without telling the hypervisor; it sees the process go."""
        self._vcpu.remove_fd(self._upcall_fd)
        os.close(self._upcall_fd)
        for port in self.ports():
            self._drop(port)

    # -- making ports ------------------------------------------------------------------------

    def alloc_unbound(self, remote: int, handler: Handler | None = None) -> int:
        """Make a port that domain *remote* may bind to; returns its number.

        As in Xen a *remote* that does not exist (yet) is accepted.
        Raises: HypercallError: ENOSPC when no port is free.
        """
        return self._open(handler, EVTCHNOP_alloc_unbound, DOMID_SELF, remote)

    def alloc_unbound_for(self, domid: int, remote: int) -> int:
        """Make a port inside domain *domid* for *remote* to bind to (the toolstack does this for
        store and console); that domain fetches its descriptors itself.

        Raises: HypercallError: EPERM without rights over *domid*, ESRCH when it does not exist.
        """
        return self._hypercalls.ask(int, _OP, EVTCHNOP_alloc_unbound, domid, remote)

    def bind_interdomain(
        self, remote: int, remote_port: int, handler: Handler | None = None
    ) -> int:
        """Bind a new local port to *remote_port* of domain *remote*; returns its number.

        The local port is pending at once, as in Xen: what came before must be looked at.
        Raises: HypercallError: ESRCH no such domain, EINVAL the port is not waiting for us.
        """
        return self._open(handler, EVTCHNOP_bind_interdomain, remote, remote_port)

    def bind_virq(self, virq: int, handler: Handler | None = None) -> int:
        """Bind a virtual interrupt (VIRQ_*) on vCPU 0; returns the port.

        Raises: HypercallError: EEXIST when it is bound, EPERM for a global one outside dom0.
        """
        return self._open(handler, EVTCHNOP_bind_virq, virq, 0)

    def _open(self, handler: Handler | None, cmd: int, *args: int) -> int:
        results, fds = self._hypercalls.call_fds(_OP, cmd, *args)
        port = read(int, results[0])
        self._adopt(port, fds, handler)
        return port

    # -- using them ----------------------------------------------------------------------------

    def notify(self, port: int) -> None:
        """Ring the other side.  Never waits, whatever that does to the bell; notifies that were not
        yet seen merge into one.

        Ringing an unbound port is allowed and reaches nobody, as in Xen.
        Raises: HypercallError: EINVAL for a port that is not open.
        """
        try:
            self._ring(self._tx[port])
        except KeyError:
            # No tx (a VIRQ, a port that was not bound when we last heard of it) or no such port:
            # the hypervisor rings, or gives the reason.
            self._hypercalls.call(_OP, EVTCHNOP_send, port)

    def set_handler(self, port: int, handler: Handler | None) -> None:
        """Replace the handler of *port*, and run it once soon: an event may have come before.

        Raises: HypercallError: EINVAL for a port that is not open.
        """
        self._check(port)
        self._vcpu.set_port_handler(port, handler)

    def mask(self, port: int) -> None:
        """Hold events of *port* back.  Raises HypercallError(EINVAL) when it is not open."""
        self._check(port)
        self._hypercalls.call(_OP, HVSIM_EVTCHN_mask, port)
        self._vcpu.mask_port(port, True)

    def unmask(self, port: int) -> None:
        """Deliver events of *port* again, at once if one was held back."""
        self._check(port)
        self._hypercalls.call(_OP, EVTCHNOP_unmask, port)
        self._vcpu.mask_port(port, False)

    def status(self, port: int, dom: int = DOMID_SELF) -> PortStatus:
        """What *port* of domain *dom* is: status (EVTCHNSTAT_*), vcpu, remote_dom, remote_port,
        virq.  Raises HypercallError: ESRCH, EPERM for a foreign domain, EINVAL."""
        return self._hypercalls.ask(PortStatus, _OP, EVTCHNOP_status, dom, port)

    def close(self, port: int) -> None:
        """Close *port*; the other side's port is unbound from then on.

        Raises: HypercallError: EINVAL for a port that is not open.
        """
        self._check(port)
        # First out of the epoll set and closed, then told: what the hypervisor gives out next
        # can then never be mistaken for this one.
        self._drop(port)
        self._hypercalls.call(_OP, EVTCHNOP_close, port)

    def fetch(self) -> None:
        """Take the descriptors that the hypervisor holds for this process: ports that were made
        for it, and ports whose wire was swapped.  Runs by itself when the upcall rings."""
        results, fds = self._hypercalls.call_fds(_OP, HVSIM_EVTCHN_fetch)
        position = 0
        for port, _status, count in read(list[tuple[int, int, int]], results[0]):
            self._adopt(port, fds[position : position + count], None)
            position += count
        for fd in fds[position:]:
            os.close(fd)
        if len(results) > 1:
            self.faults_changed = True
            if self.on_faults is not None:
                self.on_faults()

    # -- inside ----------------------------------------------------------------------------

    def _check(self, port: int) -> None:
        if port not in self._rx:
            raise HypercallError(xen_errno.EINVAL, _OP, EVTCHNOP_status)

    def _adopt(self, port: int, fds: list[int], handler: Handler | None) -> None:
        """Listen to [rx, tx] (or [rx]) of *port*, new or swapped; without a descriptor there is
        nobody to be heard yet."""
        old_rx = self._rx.get(port)
        if not fds:
            if old_rx is None:
                self._rx[port] = _UNBOUND
                self._vcpu.declare_port(port, handler)
            return
        rx = fds[0]
        old_tx = self._tx.pop(port, None)
        self._rx[port] = rx
        if len(fds) > 1:
            self._tx[port] = fds[1]
        if old_rx is None:
            self._vcpu.open_port(port, rx, handler)
        else:
            self._vcpu.replace_port(port, rx)
            if old_rx != _UNBOUND:
                os.close(old_rx)
        if old_tx is not None:
            os.close(old_tx)

    def _drop(self, port: int) -> None:
        self._vcpu.close_port(port)
        rx = self._rx.pop(port)
        if rx != _UNBOUND:
            os.close(rx)
        tx = self._tx.pop(port, None)
        if tx is not None:
            os.close(tx)
