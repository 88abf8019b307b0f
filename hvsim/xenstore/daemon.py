"""xenstored: the store as a process of dom0.

The only I/O of the store: the tools' socket, the ring pages of domains, the hypervisor's news that
a domain has stopped.  ``main`` is the program that dom0 starts; arguments (``dom.args``):
``socket`` (path), ``trace`` (path or nothing).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hvsim.abi.domctl import XEN_DOMCTL_getdomaininfo, XEN_SYSCTL_getdomaininfolist
from hvsim.abi.errno import EINVAL
from hvsim.abi.event_channel import VIRQ_DOM_EXC
from hvsim.abi.grant_table import GNTTAB_RESERVED_XENSTORE
from hvsim.abi.hypercall import HYPERVISOR_domctl, HYPERVISOR_sysctl
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError, Mapping
from hvsim.xenstore.connection import Connection
from hvsim.xenstore.core import Store
from hvsim.xenstore.errors import Refused
from hvsim.xenstore.ring import StoreRing
from hvsim.xenstore.server import SocketServer
from hvsim.xenstore.trace import Trace

_LIST_STEP: Final = 128


class RingClient:
    """One domain's ring, mapped, and its port."""

    def __init__(
        self, daemon: Daemon, domid: int, page: memoryview, mapping: Mapping | None
    ) -> None:
        self._daemon = daemon
        self._dom = daemon.dom
        self._mapping = mapping
        self._pumping = False
        self._given_up = False
        self.port = 0
        self.domid = domid
        self.connection = Connection(
            daemon.store, domid, f"d{domid}", "", daemon.trace, self._output
        )
        self._ring = StoreRing(page, self.connection, fresh=mapping is not None)

    def bind(self, remote_port: int) -> None:
        """Listen to the domain's port; a former one is closed.  Raises HypercallError."""
        port = self._dom.events.bind_interdomain(self.domid, remote_port, self.pump)
        former, self.port = self.port, port
        if former:
            self._dom.events.close(former)

    def pump(self) -> None:
        """Serve the ring."""
        if self._given_up:
            return
        self._pumping = True
        try:
            notify, more = self._ring.pump()
        finally:
            self._pumping = False
        if self.connection.broken:
            self._given_up = True
            self._dom.dmesg(f"xenstored: d{self.domid} cut off: {self.connection.broken}")
        if notify and self.port:
            self._dom.events.notify(self.port)
        if more and self.port:
            self._dom.vcpu.set_pending(self.port)

    def close(self) -> None:
        """Let go of port and page."""
        self.connection.close()
        if self.port:
            port, self.port = self.port, 0
            self._dom.events.close(port)
        if self._mapping is not None:
            self._mapping.unmap()

    def _output(self) -> None:
        if not self._pumping and self.port:
            # An event for a domain whose ring is not being served now.
            self._dom.vcpu.set_pending(self.port)


class Daemon:
    """The store, its socket and its rings.  Implements ``core.Host``."""

    def __init__(self, dom: Domain, socket_path: str, trace: Trace | None) -> None:
        self.dom = dom
        self.trace = trace
        self.store = Store(host=self)
        self.store.on_bug = self._bug
        self._rings: dict[int, RingClient] = {}
        self._virq = dom.events.bind_virq(VIRQ_DOM_EXC, self._domains_changed)
        self._connect_dom0()
        self.server = SocketServer(socket_path, self.store, dom.vcpu, trace, dom.log)

    def serve(self, until: Callable[[], bool] = lambda: False) -> None:
        """Serve until *until* holds."""
        vcpu = self.dom.vcpu
        while not until():
            vcpu.block()
            vcpu.dispatch()
            if self.trace is not None:
                self.trace.flush()

    def _bug(self, where: str, bug: Exception) -> None:
        self.dom.log(f"xenstored: {where}\n{''.join(traceback.format_exception(bug))}")

    def close(self) -> None:
        """Stop serving."""
        self.server.close()
        for domid in list(self._rings):
            self.disconnect_domain(domid)
        self.dom.events.close(self._virq)
        if self.trace is not None:
            self.trace.close()

    # -- core.Host -------------------------------------------------------------------------------

    def connect_domain(self, domid: int, gfn: int, port: int) -> None:
        """Map grant GNTTAB_RESERVED_XENSTORE of the domain and bind *port*."""
        try:
            mapping = self.dom.mapper.map(domid, GNTTAB_RESERVED_XENSTORE)
        except (GrantError, HypercallError) as error:
            self.dom.log(f"xenstored: cannot map the store page of d{domid}: {error}")
            raise Refused(EINVAL) from None
        ring = RingClient(self, domid, mapping.view, mapping)
        try:
            ring.bind(port)
        except HypercallError as error:
            self.dom.log(f"xenstored: cannot bind port {port} of d{domid}: {error}")
            ring.close()
            raise Refused(EINVAL) from None
        self._rings[domid] = ring

    def rebind_domain(self, domid: int, port: int) -> None:
        """XS_INTRODUCE of a domain that is connected: its event channel may be new."""
        ring = self._rings.get(domid)
        if ring is None:
            return
        status = self.dom.events.status(ring.port) if ring.port else {}
        if status.get("remote_dom") == domid and status.get("remote_port") == port:
            return
        try:
            ring.bind(port)
        except HypercallError:
            raise Refused(EINVAL) from None

    def disconnect_domain(self, domid: int) -> None:
        """Unmap the ring and close the port."""
        ring = self._rings.pop(domid, None)
        if ring is not None:
            ring.close()

    def domain_exists(self, domid: int) -> bool:
        """Ask the hypervisor; a domain that is dying does not count."""
        try:
            row = self.dom.hypercall.call(HYPERVISOR_domctl, XEN_DOMCTL_getdomaininfo, domid)[0]
        except HypercallError:
            return False
        return not row["flags"].get("dying")

    # -- domains ---------------------------------------------------------------------------------

    def _connect_dom0(self) -> None:
        """dom0's kernel has a ring as well: page and port are in dom0's start info."""
        info = self.dom.start_info
        gfn, port = int(info.get("store_gfn") or 0), int(info.get("store_port") or 0)
        if gfn and port:
            ring = RingClient(self, 0, self.dom.memory.own_page(gfn), None)
            ring.bind(port)
            self._rings[0] = ring

    def _domains_changed(self) -> None:
        """VIRQ_DOM_EXC: a domain has shut down, or has gone."""
        self.store.update_domains(
            {
                int(row["domid"]): bool(row["flags"].get("shutdown"))
                for row in self._list()
                if not row["flags"].get("dying")
            }
        )

    def _list(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        first = 0
        while True:
            part = self.dom.hypercall.call(
                HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist, first, _LIST_STEP
            )[0]
            rows += part
            if len(part) < _LIST_STEP:
                return rows
            first = part[-1]["domid"] + 1


def open_trace(path: str, clock: Callable[[], float]) -> Trace:
    """A trace that is appended to the file at *path*.  Raises OSError."""
    return Trace(Path(path).open("a", encoding="utf-8"), clock)


def main(dom: Domain) -> None:
    """Serve until dom0 ends."""
    path = dom.args.get("trace")
    trace = open_trace(str(path), dom.vcpu.now) if path else None
    daemon = Daemon(dom, str(dom.args["socket"]), trace)
    try:
        daemon.serve(lambda: dom.shutdown_requested is not None)
    finally:
        daemon.close()
