"""A machine that is as full as its limits allow, under the real core with real memfds and bells.

Everything is in the test's own process, so what the core does can be counted, and its CPU time read
off the thread's clock, whatever else runs on the machine.
"""

import contextlib
import gc
import os
import resource
import select
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgpack
import pytest

from hvsim.abi.grant_table import GNTMAP_host_map, GNTMAP_readonly, GNTST_okay
from hvsim.abi.memory import PAGE_SIZE
from hvsim.hypervisor import clock, processes
from hvsim.hypervisor.debug_keys import PAUSE
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Domain, Process
from hvsim.hypervisor.host import Address, Doorbell
from hvsim.hypervisor.kernel import Bell, OpenFile, SharedMemory, raise_descriptor_limit
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.memory import MAX_SEALED_PAGES, Extent
from hvsim.hypervisor.work import Job
from hvsim.wire.packing import pack
from hvsim.wire.spawn import Spawn
from tests.hypervisor.fakes import FakeHost

GIANT_PAGES = 32768
"""RAM of the giant: 128 MiB, half of them in one extent that is written to."""
SMALL_DOMAINS = 60
DESCRIPTORS = 8192
"""What all this takes."""
FRAGMENTS = 4000
"""Runs that the free machine memory lies in."""


LOOK = 120
"""What a look at a process costs (files of /proc), in lines."""
PAGE = 4
"""What it costs to free or to copy a page, in lines."""

Meter = Callable[[Callable[[], object]], int]
"""Runs something and says what that cost."""


def cpu_time(call: Callable[[], object]) -> int:
    """Nanoseconds of CPU time of this thread."""
    before = time.thread_time_ns()
    call()
    return time.thread_time_ns() - before


class Count:
    """Counts work: lines of Python, and what the kernel does for them in as many lines as take as
    long (some 60 ns each)."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, call: Callable[[], object]) -> int:
        before, tracer = self.done, sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(tracer)
        return self.done - before

    def did(self, amount: int) -> None:
        """Something was done that no line shows."""
        self.done += amount

    def _trace(self, _frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            self.done += 1
        return self._trace


class Counted(SharedMemory):
    """Real memory that tells what the kernel does for it."""

    def __init__(self, name: str, nr_pages: int, did: Callable[[int], None]) -> None:
        super().__init__(name, nr_pages)
        self._left = nr_pages
        self._did = did

    def read(self, offset: int, length: int) -> bytes:
        self._did(PAGE * length // PAGE_SIZE)
        return super().read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        self._did(PAGE * len(data) // PAGE_SIZE)
        super().write(offset, data)

    def shrink(self, nr_pages: int) -> bool:
        over = super().shrink(nr_pages)
        freed = self._left if over and nr_pages >= self._left else min(nr_pages, self._left)
        self._left -= freed
        self._did(PAGE * freed)
        return over

    def close(self) -> None:
        self._did(PAGE * self._left)
        super().close()


class KernelHost(FakeHost):
    """Real memory, real bells and real looks at a process; spawns and replies are the fake's."""

    def __init__(self, did: Callable[[int], None]) -> None:
        super().__init__()
        self._did = did
        self._epoll = select.epoll()
        self.answered = 0

    def make_memory(self, name: str, nr_pages: int) -> Any:
        return Counted(name, nr_pages, self._did)

    def make_doorbell(self) -> Any:
        return Bell()

    def open_file(self, path: str, writable: bool) -> Any:
        return OpenFile(path, writable)

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        self._epoll.register(bell.fd, select.EPOLLOUT | select.EPOLLET)

    def unlisten(self, bell: Doorbell) -> None:
        self._epoll.unregister(bell.fd)

    def cpu_time(self, token: int) -> int | None:
        self._did(LOOK)
        return clock.cpu_time(os.getpid())

    def place(self, token: int, cpus: list[int], count: int) -> Job:
        self._did(LOOK)
        yield from processes.run_on(os.getpid(), sorted(os.sched_getaffinity(0)))

    def running(self, token: int) -> bool:
        self._did(LOOK)
        return processes.is_running(os.getpid()) and False

    def reply(self, address: Address, message: list[Any] | bytes, objects: Any = ()) -> None:
        if not isinstance(message, bytes):
            pack(message)
        self.answered += 1
        _lend(objects)

    def close(self) -> None:
        self._epoll.close()


class Crowd:
    """The machine, dom0, a domain of every kind of much, and many small ones."""

    @classmethod
    @contextlib.contextmanager
    def full(cls, meter: Meter) -> Iterator["Crowd"]:
        """One for a module of tests, which are skipped where too few descriptors may be open.  The
        collector of cycles is off, as in the hypervisor."""
        raise_descriptor_limit()
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < DESCRIPTORS:
            pytest.skip(f"needs {DESCRIPTORS} open descriptors (ulimit -Hn)")
        gc.collect()
        gc.disable()
        crowd = cls(meter)
        try:
            yield crowd
        finally:
            crowd.close()
            gc.enable()

    def __init__(self, meter: Meter) -> None:
        self._cost = meter
        self.host = KernelHost(meter.did if isinstance(meter, Count) else lambda _: None)
        self.machine = Machine(self.host, Ledger(self.host.now), 1 << 22, cpus=8)
        self.dispatcher = Dispatcher(self.machine)
        dom0 = self.machine.create_dom0(4096, 1, "p0")
        self.root = self.process(dom0, "p0", True)
        for number in range(1, 64):
            self.process(dom0, f"p{number}", False)
        self.small = [self.domain(64) for _ in range(SMALL_DOMAINS)]
        for one in self.small:
            for _ in range(4):
                self.port(one, self.small[0].domid)
        self._fragment()
        self._fill_console()

    def close(self) -> None:
        """Let go of every descriptor."""
        for domain in self.machine.domains.values():
            for number in list(domain.events.ports):
                self.machine.close_port(domain, number)
            if table := domain.grants.detach():
                table.close()
            for extent in domain.memory.extents.values():
                extent.memory.close()
            for process in domain.processes.values():
                process.upcall.close()
                if process.page is not None:
                    process.page.close()
        self.host.close()

    # building

    def process(self, domain: Domain, name: str, main: bool) -> Process:
        process = self.machine.births.spawn(domain, Spawn(process=name), main)
        self.machine.births.process_spawned(process.token, os.getpid(), [])
        return process

    def domain(self, pages: int) -> Process:
        """A running domain of one process."""
        handle = (len(self.machine.domains) + 1).to_bytes(16, "big")
        domain = self.machine.create_domain(handle, 1, pages, 0)
        for _ in self.machine.populate(domain, pages):
            pass
        domain.pause_count, domain.started = 0, True
        return self.process(domain, "main", True)

    def port(self, process: Process, remote: int) -> int:
        events = process.domain.events
        port = events.alloc_unbound(remote, process.token)
        return self.machine.open_port(port, True).number

    def extent(self, process: Process, pages: int, fill: bool = False) -> Extent:
        extent = self.machine.make_extent(process.domain, pages, process.token)
        if fill:
            piece = b"\1" * (PAGE_SIZE * min(pages, 1024))
            for first in range(0, pages, 1024):
                extent.memory.write(first * PAGE_SIZE, piece)
        return extent

    def grant(
        self, owner: Process, ref: int, peer: Process, gfn: int, readonly: bool = False
    ) -> None:
        self.machine.grant_table(owner.domain).seed(ref, peer.domid, gfn, readonly)

    def map(self, peer: Process, owner: Process, ref: int, readonly: bool = False) -> int:
        """Map a grant; its handle."""
        flags = GNTMAP_host_map | (GNTMAP_readonly if readonly else 0)
        row = self.machine.transfers.map_one(peer, flags, ref, owner.domid, [])
        assert row[0] == GNTST_okay
        return row[1]

    def giant(self, handles: int = 8000) -> tuple[Process, Process]:
        """A domain with as much of everything as it may have, and the peer that maps its grants.

        References from 1000 on are granted, one to an extent, and mapped again and again; the first
        of them read-only.
        """
        giant, peer = self.domain(GIANT_PAGES), self.domain(64)
        self.extent(giant, GIANT_PAGES // 2, fill=True)
        sealed = self.extent(giant, MAX_SEALED_PAGES, fill=True)
        self.grant(giant, 1000, peer, sealed.base_gfn, readonly=True)
        self.map(peer, giant, 1000, readonly=True)
        for ref in range(1001, 1980):
            self.grant(giant, ref, peer, self.extent(giant, 1, fill=True).base_gfn)
        for number in range(handles):
            self.map(peer, giant, 1001 + number % 979)
        for ref in range(3000, 32000):
            self.machine.grant_table(giant.domain).seed(ref, peer.domid, sealed.base_gfn)
        for _ in range(300):
            self.port(giant, peer.domid)
        return giant, peer

    def _fragment(self) -> None:
        """Free machine memory in many small pieces, below the large one."""
        runs = self.machine.heap.allocate(2 * FRAGMENTS)
        first = runs[0][0]
        for number in range(0, 2 * FRAGMENTS, 2):
            self.machine.heap.release([(first + number, 1)])
        self.machine.heap.scrub()

    def _fill_console(self) -> None:
        for _ in range(5000):
            self.machine.console.xen("")
        for number in range(5000):
            self.machine.ledger.record("filled", 3, f"line {number} of a ledger that is full")

    # measuring

    def ask(self, process: Process, call: int, cmd: int, *args: Any) -> list[int]:
        """What each piece of work that a call is has cost."""
        return self.ask_raw(process, msgpack.packb([call, cmd, *args]))

    def ask_raw(self, process: Process, message: bytes) -> list[int]:
        """The same for bytes as they are."""

        def serve() -> None:
            answer = self.dispatcher.serve(process, message)
            if answer is not None:
                _lend(answer[1])

        return [self._cost(serve), *self.rest()]

    def do(self, call: Callable[[], object]) -> list[int]:
        """The same for something that happens: a process is gone."""
        return [self._cost(call), *self.rest()]

    def rest(self) -> Iterator[int]:
        """What has been left for later, until all is done."""
        while self.machine.work.waiting:
            yield self._cost(self.machine.work.turn)
        while self.machine.dumps.waiting:
            yield self._cost(lambda: self.host.advance(PAUSE))


def _lend(objects: Any) -> None:
    """What the server does with the descriptors of an answer."""
    for fd in [thing.lend() for thing in objects]:
        os.close(fd)
