"""The guest that benchmarks use: it does one named job when told and writes what came of it.

The benchmark writes ``data/go`` = "<number> <job> <arguments>", the guest answers in
``data/result`` = "<number> <seconds per operation, or another figure> <operations>".  Between jobs
it sleeps, so that a reference that is measured in the same minute has the machine for itself.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator

from hvsim.abi.hypercall import HYPERVISOR_xen_version
from hvsim.domain import Domain
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.request import READ, WRITE

XENVER_VERSION = 0
SECTOR = 512
JOB_TIMEOUT = 60.0
BATCH = 64
"""Operations between two looks at the clock, of those that take microseconds."""

Result = tuple[float, int]
"""Seconds per operation, or another figure; operations."""


def main(dom: Domain) -> None:
    """Serve jobs until the shutdown request."""
    jobs: list[str] = []
    seen = ""

    def told(_path: str) -> None:
        nonlocal seen
        if dom.store.exists("data/go"):
            job = dom.store.read("data/go")
            if job and job != seen:
                seen = job
                jobs.append(job)

    BlockFront.register(dom)
    dom.store.watch("data/go", told)
    dom.ready()
    while dom.shutdown_requested is None:
        dom.vcpu.block()
        dom.vcpu.dispatch()
        while jobs:
            number, name, *words = jobs.pop(0).split()
            figure, operations = JOBS[name](dom, *words)
            dom.store.write("data/result", f"{number} {figure!r} {operations}")


def repeat(operation: Callable[[], object], seconds: float, batch: int) -> Result:
    """Do it, `batch` times between two looks at the clock, for so long."""
    turns = range(batch)
    total = 0
    start = now = time.perf_counter()
    while now - start < seconds:
        for _ in turns:
            operation()
        total += batch
        now = time.perf_counter()
    return (now - start) / total, total


# -- event channels and hypercalls ----------------------------------------------------------------


def listen(dom: Domain, remote: str) -> Result:
    """Answer every event of domain `remote` with one; the port that it may bind to."""
    events = dom.events
    port = 0

    def answer() -> None:
        events.notify(port)

    port = events.alloc_unbound(int(remote), answer)
    return port, 1


def ping(dom: Domain, remote: str, remote_port: str, seconds: str) -> Result:
    """Ring and wait for the answer, round and round."""
    events, vcpu = dom.events, dom.vcpu
    came = 0

    def heard() -> None:
        nonlocal came
        came += 1

    port = events.bind_interdomain(int(remote), int(remote_port), heard)
    dom.sleep(0.02)  # the event that a bind itself raises is not ours to count

    def round_trip() -> None:
        expected = came + 1
        events.notify(port)
        while came < expected:
            vcpu.block(JOB_TIMEOUT)
            vcpu.dispatch()

    found = repeat(round_trip, float(seconds), BATCH)
    events.close(port)
    return found


def hypercall(dom: Domain, seconds: str) -> Result:
    """The cheapest hypercall there is."""
    call = dom.hypercall.call
    return repeat(lambda: call(HYPERVISOR_xen_version, XENVER_VERSION), float(seconds), BATCH)


# -- disks ----------------------------------------------------------------------------------------


def blocks(dom: Domain, op: str, size: str, order: str, depth: str, seconds: str) -> Result:
    """`op` (read or write) pieces of `size` bytes, at random places or one after the other, with
    `depth` of them on their way."""
    disk = BlockFront.open(dom, "xvda")
    nr_sectors = int(size) // SECTOR
    places = _places(disk, nr_sectors, order)
    data = b"\xa5" * int(size)
    batch = max(1, 16 * 4096 // int(size))
    if int(depth) > 1:
        return _deep(disk, op, nr_sectors, data, places, int(depth), float(seconds), batch)
    if op == "read":
        return repeat(lambda: disk.read(next(places), nr_sectors), float(seconds), batch)
    return repeat(lambda: disk.write(next(places), data), float(seconds), batch)


def _places(disk: Disk, nr_sectors: int, order: str) -> Iterator[int]:
    """The sectors at which pieces begin, for ever."""
    all_of_them = range(0, disk.sectors - nr_sectors + 1, nr_sectors)
    if order == "random":
        return itertools.cycle(random.Random(7).choices(all_of_them, k=5000))
    return itertools.cycle(all_of_them)


def _deep(
    disk: Disk,
    op: str,
    nr_sectors: int,
    data: bytes,
    places: Iterator[int],
    depth: int,
    seconds: float,
    batch: int,
) -> Result:
    submit = disk.submit
    slots = itertools.cycle(range(depth))
    if op == "read":
        flying = [submit(READ, next(places), nr_sectors) for _ in range(depth)]

        def turn() -> None:
            slot = next(slots)
            flying[slot].wait()
            flying[slot] = submit(READ, next(places), nr_sectors)
    else:
        flying = [submit(WRITE, next(places), data=data) for _ in range(depth)]

        def turn() -> None:
            slot = next(slots)
            flying[slot].wait()
            flying[slot] = submit(WRITE, next(places), data=data)

    start = time.perf_counter()
    _, total = repeat(turn, seconds, batch)
    for request in flying:
        request.wait()
    total += depth
    return (time.perf_counter() - start) / total, total


def ride(dom: Domain, seconds: str) -> Result:
    """Read one block after the other until the disk has got another backend: when its first answer
    had come, in seconds of the monotonic clock; and how many reads there were."""
    disk = BlockFront.open(dom, "xvda")
    places = _places(disk, 8, "random")
    before = disk.statistics()["connections"]
    deadline = time.monotonic() + float(seconds)
    reads = 0
    while time.monotonic() < deadline:
        disk.read(next(places), 8)
        now = time.monotonic()
        reads += 1
        if disk.statistics()["connections"] != before:
            return now, reads
    raise TimeoutError(f"the disk has its old backend after {seconds} s")


JOBS: dict[str, Callable[..., Result]] = {
    "listen": listen,
    "ping": ping,
    "hypercall": hypercall,
    "blocks": blocks,
    "ride": ride,
}
