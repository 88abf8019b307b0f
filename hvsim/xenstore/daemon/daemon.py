"""xenstored: the store as a process of dom0.

The only I/O of the store: the tools' socket, the ring pages of domains, the hypervisor's news that
a domain has stopped.  ``main`` is the program that dom0 starts; arguments (``dom.args``):
``handshake`` ("record", or "strict": a state that breaks the rules of a handshake is refused),
``socket`` (path), ``quota`` (limits that differ from the defaults), ``trace`` (path or nothing),
``journal`` (path or nothing), ``recover`` (go on with the store of that journal: the toolstack says
so when it starts a dead store again), ``servers`` (sockets that a former program hands over),
``successor`` (arguments of the interpreter that make it the program of a live update).
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from hvsim.abi.domctl import XEN_DOMCTL_getdomaininfo, XEN_SYSCTL_getdomaininfolist
from hvsim.abi.errno import EINVAL, ENOSYS
from hvsim.abi.event_channel import VIRQ_DOM_EXC
from hvsim.abi.grant_table import GNTTAB_RESERVED_XENSTORE
from hvsim.abi.hypercall import HYPERVISOR_domctl, HYPERVISOR_sysctl
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError, exit_process
from hvsim.domain.mapper import GrantError
from hvsim.domain.mapper import Mapping as Mapped
from hvsim.wire.answers import DomainInfo
from hvsim.wire.typed import read
from hvsim.xenstore.daemon import live_update
from hvsim.xenstore.daemon.between import Between
from hvsim.xenstore.daemon.doors import Doors
from hvsim.xenstore.daemon.ledger import QuotaReports, watch_handshakes
from hvsim.xenstore.daemon.live_update import ServerState
from hvsim.xenstore.daemon.ring_client import RingClient
from hvsim.xenstore.daemon.server import SocketServer
from hvsim.xenstore.daemon.trace import Trace
from hvsim.xenstore.handshake.control import HANDSHAKES, everything
from hvsim.xenstore.handshake.hooks import Handshakes
from hvsim.xenstore.journal.keeper import Keeper
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.fairness import Governor
from hvsim.xenstore.rules.quota import Limits
from hvsim.xenstore.rules.store import Store

_LIST_STEP: Final = 128


class Daemon:
    """The store, its socket and its rings.  Implements ``rules.host.Host``."""

    def __init__(
        self,
        dom: Domain,
        socket_path: str,
        trace: Trace | None,
        journal: str = "",
        recover: bool = False,
        limits: Limits | None = None,
        servers: Sequence[ServerState] = (),
        successor: Sequence[str] = (),
    ) -> None:
        self.dom = dom
        self.trace = trace
        self.store = Store(limits, host=self)
        self.store.on_bug = self._bug
        self.store.say = dom.log
        self.store.switch_trace = trace.switch if trace is not None else None
        self.store.trace_to = trace.reopen if trace is not None else None
        self.keeper = Keeper(self.store, journal, recover, dom.dmesg)
        self._rings: dict[int, RingClient] = {}
        self.store.governor = Governor(dom.vcpu.now)
        self._quota_reports = QuotaReports(dom, lambda: self.store.limits)
        self.store.on_limit = self._quota_reports
        self._update_by: float | None = None
        self._successor = successor
        inherited = {state.domid: state for state in servers}
        tools = inherited.pop(0, None)
        self._doors = Doors(socket_path, self.store, dom.vcpu, trace, dom.log, inherited.values())
        self._virq = dom.events.bind_virq(VIRQ_DOM_EXC, self._domains_changed)
        self._connect_dom0()
        self._restore()
        self._between = Between(dom.seams, self.store)
        self.server = SocketServer(
            socket_path, self.store, dom.vcpu, trace, dom.log, inherited=tools
        )

    def serve(self, until: Callable[[], bool] = lambda: False) -> None:
        """Serve until *until* holds."""
        vcpu = self.dom.vcpu
        while not until():
            vcpu.block()
            vcpu.dispatch()
            self.keeper.commit()
            if self.trace is not None:
                self.trace.flush()

    def _bug(self, where: str, bug: Exception) -> None:
        self.dom.log(f"xenstored: {where}\n{''.join(traceback.format_exception(bug))}")

    def close(self) -> None:
        """Stop serving.  What is dropped here is not the clients' doing, and not journaled."""
        self.keeper.close()
        self.server.close()
        self._doors.close_all()
        self._between.close()
        for domid in list(self._rings):
            self.disconnect_domain(domid)
        self.dom.events.close(self._virq)
        if self.trace is not None:
            self.trace.close()

    # -- rules.host.Host ---------------------------------------------------------------------------

    def connect_domain(self, domid: int, gfn: int, port: int) -> None:
        """Map grant GNTTAB_RESERVED_XENSTORE of the domain and bind *port*."""
        try:
            mapping = self.dom.mapper.map(domid, GNTTAB_RESERVED_XENSTORE)
        except (GrantError, HypercallError) as error:
            self.dom.log(f"xenstored: cannot map the store page of d{domid}: {error}")
            raise Refused(EINVAL) from None
        ring = self._ring(domid, mapping.view, mapping)
        try:
            ring.bind(port)
        except HypercallError as error:
            self.dom.log(f"xenstored: cannot bind port {port} of d{domid}: {error}")
            ring.close()
            raise Refused(EINVAL) from None
        self._rings[domid] = ring
        self._doors.open(domid)

    def live_update(self, timeout: float) -> None:
        """Remember it; who serves looks at :attr:`to_be_replaced`."""
        if self.keeper.recorder is None or not self._successor:
            raise Refused(ENOSYS)
        self._update_by = self.dom.vcpu.now() + timeout
        self.dom.vcpu.call_later(timeout, _look_again)

    @property
    def to_be_replaced(self) -> bool:
        """Whether a live update was asked for, and now is the time."""
        if self._update_by is None:
            return False
        if self.dom.vcpu.now() >= self._update_by:
            return True
        return not any(session.transactions for session in self.store.sessions)

    def replace(self) -> NoReturn:
        """Become the new program.  Raises OSError."""
        self.keeper.settle()
        servers = [self.server.dump_state(), *self._doors.dump_state()]
        for ring in self._rings.values():
            ring.close()
        self.dom.events.close(self._virq)
        if self.trace is not None:
            self.trace.close()
        live_update.execute(self.dom.spec, servers, self._successor)

    def rebind_domain(self, domid: int, port: int) -> None:
        """XS_INTRODUCE of a domain that is connected: its event channel may be new."""
        ring = self._rings.get(domid)
        if ring is None:
            return
        if ring.port:
            status = self.dom.events.status(ring.port)
            if status["remote_dom"] == domid and status["remote_port"] == port:
                return
        try:
            ring.bind(port)
        except HypercallError:
            raise Refused(EINVAL) from None

    def disconnect_domain(self, domid: int) -> None:
        """Unmap the ring, close the port and the domain's socket."""
        self._doors.close(domid)
        self._quota_reports.forget(domid)
        ring = self._rings.pop(domid, None)
        if ring is not None:
            ring.close()

    def domain_exists(self, domid: int) -> bool:
        """Ask the hypervisor; a domain that is dying does not count."""
        try:
            command = XEN_DOMCTL_getdomaininfo
            row = self.dom.hypercall.ask(DomainInfo, HYPERVISOR_domctl, command, domid)
        except HypercallError:
            return False
        return not row["flags"]["dying"]

    # -- domains ---------------------------------------------------------------------------------

    def _connect_dom0(self) -> None:
        """dom0's kernel has a ring as well: page and port are in dom0's start info."""
        info = self.dom.start_info
        gfn, port = int(info.get("store_gfn") or 0), int(info.get("store_port") or 0)
        if gfn and port:
            ring = self._ring(0, self.dom.memory.own_page(gfn), None)
            ring.bind(port)
            self._rings[0] = ring

    def _ring(self, domid: int, page: memoryview, mapping: Mapped | None) -> RingClient:
        return RingClient(self.dom, self.store, self.keeper, self.trace, domid, page, mapping)

    def _restore(self) -> None:
        """Take the rings of a recovered store over, and begin to journal."""
        recovered = self.keeper.recovery is not None
        if recovered:
            for domid, domain in list(self.store.domains.items()):
                if domid == 0:
                    continue
                try:
                    self.connect_domain(domid, 0, domain.port)
                except Refused:
                    domain.connected = False  # it went meanwhile, or has no port any more
        self.keeper.begin()
        if recovered:
            self._domains_changed()
            for ring in self._rings.values():
                ring.greet()

    def _domains_changed(self) -> None:
        """VIRQ_DOM_EXC: a domain has shut down, or has gone."""
        self.store.update_domains(
            {
                row["domid"]: row["flags"]["shutdown"]
                for row in self._list()
                if not row["flags"]["dying"]
            }
        )

    def _list(self) -> list[DomainInfo]:
        rows: list[DomainInfo] = []
        first = 0
        while True:
            command = XEN_SYSCTL_getdomaininfolist
            part = self.dom.hypercall.ask(
                list[DomainInfo], HYPERVISOR_sysctl, command, first, _LIST_STEP
            )
            rows += part
            if len(part) < _LIST_STEP:
                return rows
            first = part[-1]["domid"] + 1


def open_trace(path: str, clock: Callable[[], float]) -> Trace:
    """A trace that is appended to the file at *path*.  Raises OSError."""
    return Trace(Path(path).open("a", encoding="utf-8"), clock)


def _leave_word(handshakes: Handshakes, journal: Path) -> NoReturn:
    """The hypervisor is gone, and with it the lab: what the monitor knows is for the post-mortem,
    beside the journal, which has the nodes."""
    with contextlib.suppress(Exception):  # nobody is left who could be told of it
        new = journal.with_name(f".{HANDSHAKES}")
        new.write_text(everything(handshakes.monitor), encoding="utf-8")
        new.rename(journal.with_name(HANDSHAKES))
    exit_process()


def main(dom: Domain) -> None:
    """Serve until dom0 ends."""
    path = dom.args.get("trace")
    trace = open_trace(str(path), dom.vcpu.now) if path else None
    journal = str(dom.args.get("journal") or "")
    recover = bool(dom.args.get("recover"))
    limits = Limits.parse(dom.args.get("quota") or {})
    servers = read(tuple[ServerState, ...], dom.args.get("servers") or ())
    successor = dom.args.get("successor") or ()
    socket = str(dom.args["socket"])
    if servers and dom.events.on_faults is not None:
        dom.events.on_faults()  # who was told of rules of faults was the program before
    daemon = Daemon(dom, socket, trace, journal, recover, limits, servers, successor)
    handshakes = watch_handshakes(dom, daemon.store, str(dom.args.get("handshake") or "record"))
    if journal:
        dom.hypercall.on_gone = partial(_leave_word, handshakes, Path(journal))
    try:
        daemon.serve(lambda: dom.shutdown_requested is not None or daemon.to_be_replaced)
    except BaseException:
        daemon.keeper.abandon()
        daemon.close()
        raise
    if daemon.to_be_replaced:
        daemon.replace()
    daemon.close()


def _look_again() -> None:
    """A timer that only makes the loop turn."""
