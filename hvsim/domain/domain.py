"""The domain as its program sees it: every part of the mini-OS, wired together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

from hvsim.abi.hypercall import (
    CONSOLEIO_write,
    HVSIM_OP_park,
    HVSIM_OP_start_info,
    HYPERVISOR_console_io,
    HYPERVISOR_hvsim_op,
)
from hvsim.domain import control
from hvsim.domain import dice as dices
from hvsim.domain.clock import TimePage
from hvsim.domain.console import Console
from hvsim.domain.events import EventChannels
from hvsim.domain.grants import GrantTable
from hvsim.domain.hypercall import HypercallError, Hypercalls
from hvsim.domain.mapper import GrantMapper
from hvsim.domain.memory import Memory
from hvsim.domain.seams import Seams
from hvsim.domain.shm import SharedPages
from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus.backends import BackendBus
from hvsim.domain.xenbus.frontends import FrontendBus
from hvsim.domain.xenbus.ring_transport import RingTransport
from hvsim.speak import note
from hvsim.wire import rights
from hvsim.wire.answers import StartInfo
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import read
from hvsim.xs.client import StoreClient

_CONSOLEIO_MAX: Final = 1024


def _grant_slot(spec: Spawn) -> int | None:
    """Which window of the domain's references this process has: that of its number, when it was
    started beside the main one (``hvsim exec``)."""
    kind, _, number = spec.process.partition("-")
    if spec.grant_slot is None and kind == "exec" and number.isdecimal():
        return int(number)
    return spec.grant_slot


class Domain:
    """One process of a domain.  Made by ``start.run``; handed to the program's ``main``.

    Attributes:
        domid: the domain's number.
        start_info: what the hypervisor and the toolstack told it at birth.
        args: the program's arguments (``hvsim.wire.spawn``).
        hypercall, vcpu, events, memory, grants, mapper: the parts, see their modules.
        seams: where faults stand between its drivers and what they use.
        shutdown_requested: None, or what ``control/shutdown`` asked for ("poweroff", "reboot").
    """

    def __init__(
        self,
        spec: Spawn,
        start_info: StartInfo,
        hypercall: Hypercalls,
        vcpu: VCPU,
        events: EventChannels,
    ) -> None:
        self.spec: Final = spec
        self.args: Final = dict(spec.args)
        self.start_info: Final = start_info
        self.domid: Final = start_info["domid"]
        self.hypercall: Final = hypercall
        self.vcpu: Final = vcpu
        self.events: Final = events
        self.memory: Final = Memory(hypercall)
        self.grants: Final = GrantTable(hypercall, _grant_slot(spec))
        self.mapper: Final = GrantMapper(hypercall)
        self.shutdown_requested: str | None = None
        self.seams: Final = Seams()
        self._pages: tuple[TimePage | SharedPages, ...] = ()
        self._on_shutdown: list[Callable[[], None]] = []
        self._store: StoreClient | None = None
        self._console: Console | None = None
        self._frontends: FrontendBus | None = None
        self._backends: BackendBus | None = None

    @classmethod
    def attach(
        cls,
        conn_fd: int,
        upcall_fd: int,
        spec: Spawn,
        *,
        store: bool = True,
        console: bool = True,
    ) -> Domain:
        """Put a domain together from the two descriptors that it was born with.

        Args:
            store: connect to xenstore over the domain's ring page, and watch its
                ``control`` nodes.  The daemons of dom0 do without.
            console: use the domain's console ring.

        Raises: HypercallError, StoreError; WaitTimeout when xenstored does not answer.
        """
        hypercall = Hypercalls(conn_fd)
        results, fds = hypercall.call_fds(HYPERVISOR_hvsim_op, HVSIM_OP_start_info)
        start_info = read(StartInfo, results[0])
        waits = fds.pop() if len(fds) > 2 else None
        try:
            shared = SharedPages([(fds[0], 0, 1)], writable=False), SharedPages([(fds[1], 0, 1)])
        finally:
            rights.close(fds)
        page = TimePage(shared[0].view)
        vcpu = VCPU(page.now, page.wall, shared[1].view, waits)
        if waits is not None:
            vcpu.take_turns(partial(hypercall.call, HYPERVISOR_hvsim_op, HVSIM_OP_park))
        vcpu.add_hangup(conn_fd, lambda: hypercall.on_gone())
        domain = cls(spec, start_info, hypercall, vcpu, EventChannels(hypercall, vcpu, upcall_fd))
        domain._pages = (page, *shared)
        if console:
            domain.connect_console()
        if store:
            domain.connect_store()
        return domain

    def close(self) -> None:
        """Let go of every descriptor and page; for a process that goes on without the domain."""
        self.mapper.close()
        self.grants.close()
        self.memory.close()
        self.events.close_all()
        self.vcpu.close()
        for page in self._pages:
            page.close()
        self.hypercall.close()

    # -- parts that not every process has --------------------------------------------------

    @property
    def store(self) -> StoreClient:
        """The connection to xenstore.  Raises RuntimeError in a process attached without."""
        if self._store is None:
            raise RuntimeError("this process was attached without the store")
        return self._store

    @property
    def console(self) -> Console:
        """The console.  Raises RuntimeError in a process attached without."""
        if self._console is None:
            raise RuntimeError("this process was attached without a console")
        return self._console

    @property
    def has_store(self) -> bool:
        """Whether there is a store connection."""
        return self._store is not None

    @property
    def has_console(self) -> bool:
        """Whether there is one."""
        return self._console is not None

    @property
    def frontends(self) -> FrontendBus:
        """The bus of the devices that this domain uses; started at the first use."""
        if self._frontends is None:
            bus = FrontendBus(self.store, self.vcpu, self.log)
            bus.start()
            self._frontends = bus
        return self._frontends

    @property
    def backends(self) -> BackendBus:
        """The bus of the devices that this domain serves; started at the first use."""
        if self._backends is None:
            bus = BackendBus(self.store, self.vcpu, self.log, announce=self.domid != 0)
            bus.start()
            self._backends = bus
        return self._backends

    def stop_drivers(self) -> None:
        """Stop both buses, with the drivers on them, as far as they were begun."""
        for bus in (self._backends, self._frontends):
            if bus is not None:
                bus.stop()

    def use_store(self, store: StoreClient) -> None:
        """Speak to xenstore over *store*, in a process that was attached without."""
        self._store = store

    @cached_property
    def dice(self) -> dices.Dice:
        """What every random choice of the program is drawn from; seeded by the lab."""
        return dices.seeded(self.start_info["seed"])

    # -- talking -----------------------------------------------------------------------------

    def log(self, text: str) -> None:
        """Write a line to the domain's console, or to the process's own output without one.

        Never blocks on a slow console daemon."""
        if self._console is not None:
            self._console.write(text + "\n")
        else:
            note(text)

    def dmesg(self, text: str) -> None:
        """Write *text* to the hypervisor's console ring (``xl dmesg``): for what must be seen
        even when the domain's own console is not served.  Never raises."""
        try:
            data = text.encode(errors="replace")[:_CONSOLEIO_MAX]
            self.hypercall.call(HYPERVISOR_console_io, CONSOLEIO_write, data)
        except HypercallError as error:
            self.log(f"cannot write to the hypervisor's console: {error}")

    def starting(self) -> None:
        """Say that the program runs but is not ready: ``data/health`` = "starting".

        Raises StoreError."""
        self.store.write("data/health", "starting")

    def ready(self, detail: str = "") -> None:
        """Say that the program does its work: ``data/health`` = "ok".

        A lab is ready when every device is Connected and every domain has said so.  *detail*
        is for people, in ``data/health-detail``.  Raises StoreError.
        """
        if detail:
            self.store.write("data/health-detail", detail)
        self.store.write("data/health", "ok")

    # -- waiting -------------------------------------------------------------------------------

    def wait(self, pred: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Run the domain until ``pred()`` holds; see ``VCPU.run_until``.

        Raises: WaitTimeout(what, timeout); RuntimeError inside a handler.
        """
        self.vcpu.run_until(pred, timeout, what)

    def sleep(self, seconds: float) -> None:
        """Run the domain for *seconds*, or until a shutdown is requested.

        Raises: RuntimeError inside a handler.
        """
        vcpu = self.vcpu
        deadline = vcpu.now() + seconds
        while self.shutdown_requested is None:
            remaining = deadline - vcpu.now()
            if remaining <= 0.0:
                return
            vcpu.block(remaining)
            vcpu.dispatch()

    def serve(self) -> None:
        """Run the domain until a shutdown is requested: the main loop of a server."""
        self.vcpu.run_until(lambda: self.shutdown_requested is not None, None, "a shutdown request")

    def on_shutdown(self, fn: Callable[[], None]) -> None:
        """Call *fn* when a shutdown is requested (``shutdown_requested`` is set by then), at
        once if it was.  *fn* runs as a handler: it may not wait."""
        self._on_shutdown.append(fn)
        if self.shutdown_requested is not None:
            fn()

    def request_shutdown(self, command: str) -> None:
        """What happens when ``control/shutdown`` says *command*; the first request counts."""
        if self.shutdown_requested is None:
            self.shutdown_requested = command
            for fn in list(self._on_shutdown):
                fn()

    # -- inside --------------------------------------------------------------------------------

    def connect_console(self) -> None:
        """Use the console ring, if the domain was given one.  Part of ``attach``."""
        port = self.start_info["console_port"]
        gfn = self.start_info["console_gfn"]
        if port and gfn:
            self._console = Console(self.memory.own_page(gfn), port, self.events)

    def connect_store(self) -> None:
        """Connect to xenstore and listen to what the toolstack asks.  Part of ``attach``.

        Raises: KeyError when the domain was born without a store page; StoreError; TimeoutError
            when xenstored does not answer.
        """
        transport = RingTransport(
            self.memory.own_page(self.start_info["store_gfn"]),
            self.start_info["store_port"],
            self.events,
            self.vcpu,
        )
        self.use_store(StoreClient(transport))
        control.listen(self)
