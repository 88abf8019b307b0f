"""The guest that benchmarks use: it does one named job when told and writes how long it took.

The benchmark writes ``data/go`` = "<number> <job> <arguments>", the guest answers in
``data/result`` = "<number> <seconds per operation, or another figure>".  Between jobs it sleeps, so
that a reference that is measured in the same minute has the machine for itself.
"""

import random
import time
from collections.abc import Callable

from hvsim.abi.hypercall import HYPERVISOR_xen_version
from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.request import READ

XENVER_VERSION = 0
SECTORS = 8
"""512-byte sectors of the 4 KiB that a read takes."""
JOB_TIMEOUT = 60.0


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
            result = JOBS[name](dom, *words)
            dom.store.write("data/result", f"{number} {result!r}")


def listen(dom: Domain, remote: str) -> int:
    """Answer every event of domain `remote` with one; the port that it may bind to."""
    events = dom.events
    port = 0

    def answer() -> None:
        events.notify(port)

    port = events.alloc_unbound(int(remote), answer)
    return port


def ping(dom: Domain, remote: str, remote_port: str, trips: str) -> float:
    """Ring and wait for the answer: seconds per round trip."""
    events, vcpu = dom.events, dom.vcpu
    came = 0

    def heard() -> None:
        nonlocal came
        came += 1

    port = events.bind_interdomain(int(remote), int(remote_port), heard)
    dom.sleep(0.05)  # the event that a bind itself raises is not ours to count
    total = int(trips)
    start = time.perf_counter()
    for _ in range(total):
        expected = came + 1
        events.notify(port)
        while came < expected:
            vcpu.block(JOB_TIMEOUT)
            vcpu.dispatch()
    took = (time.perf_counter() - start) / total
    events.close(port)
    return took


def hypercall(dom: Domain, trips: str) -> float:
    """The cheapest hypercall there is: seconds per call."""
    call = dom.hypercall.call
    total = int(trips)
    start = time.perf_counter()
    for _ in range(total):
        call(HYPERVISOR_xen_version, XENVER_VERSION)
    return (time.perf_counter() - start) / total


def reads(dom: Domain, depth: str, requests: str) -> float:
    """Random 4 KiB reads with `depth` of them on their way: seconds per read."""
    disk = BlockFront.open(dom, "xvda")
    total, deep = int(requests), int(depth)
    pages = disk.sectors // SECTORS
    places = random.Random(7).choices(range(0, pages * SECTORS, SECTORS), k=total)
    read, submit = disk.read, disk.submit
    start = time.perf_counter()
    if deep == 1:
        for place in places:
            read(place, SECTORS)
    else:
        flying = [submit(READ, place, SECTORS) for place in places[:deep]]
        for index, place in enumerate(places[deep:]):
            slot = index % deep
            flying[slot].wait()
            flying[slot] = submit(READ, place, SECTORS)
        for request in flying:
            request.wait()
    return (time.perf_counter() - start) / total


JOBS: dict[str, Callable[..., float]] = {
    "listen": listen,
    "ping": ping,
    "hypercall": hypercall,
    "reads": reads,
}
