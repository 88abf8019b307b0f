"""What Xen prints on its console for a debug key (``xl debug-keys``), for the state that is here.

A dump is a row of lines, made one at a time: :class:`Dumps` prints a piece of it, lets the machine
serve its domains, and goes on.  A domain is looked up anew when its turn comes.

Source: common/keyhandler.c, common/event_channel.c, common/grant_table.c, common/sched/core.c;
the recordings of a real host (32, 78, 91) have the form.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import islice
from typing import Final, Protocol

from hvsim.abi.cpumask import ranges
from hvsim.abi.event_channel import (
    VIRQ_CON_RING,
    EVTCHNSTAT_interdomain,
    EVTCHNSTAT_unbound,
    EVTCHNSTAT_virq,
)
from hvsim.abi.grant_table import MAX_FRAMES
from hvsim.hypervisor.console import ConsoleRing
from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.grants import MAX_HANDLES
from hvsim.hypervisor.heap import Heap
from hvsim.hypervisor.host import Host

PIECE: Final = 16
"""Lines of one piece: some 100 us."""
PAUSE: Final = 50_000
"""Nanoseconds between two pieces."""
MAX_LINES: Final = 4096
"""Of one dump; the console ring holds fewer."""
MAX_WAITING: Final = 16
"""Dumps that wait for their turn."""
MAPTRACK_PER_PAGE: Final = 256
_STATES: Final = {EVTCHNSTAT_unbound: 2, EVTCHNSTAT_interdomain: 3, EVTCHNSTAT_virq: 5}
"""ECS_*, Xen's own states, which its tools call otherwise."""
_VPF_BLOCKED: Final = 1
_VPF_DOWN: Final = 2

Lines = Iterator[str]
NOTHING: Final = ""
"""A line that is none: as much was done as for one."""


class Sight(Protocol):
    """The machine, as far as it is dumped."""

    @property
    def host(self) -> Host:
        """The world outside."""

    @property
    def console(self) -> ConsoleRing:
        """Where the lines go."""

    @property
    def heap(self) -> Heap:
        """Its frames."""

    @property
    def cpus(self) -> int:
        """How many it has."""

    @property
    def domains(self) -> Mapping[int, Domain]:
        """Those that there are."""

    def raise_virq(self, virq: int) -> None:
        """Ring a global virtual interrupt of dom0."""


def _domains(machine: Sight) -> Iterator[Domain]:
    for domid in sorted(machine.domains):
        domain = machine.domains.get(domid)
        if domain is not None:
            yield domain


def _handle(domain: Domain) -> str:
    text = domain.handle.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def event_channels(machine: Sight) -> Lines:
    """Key e."""
    yield "'e' pressed -> dumping event-channel info"
    for domain in _domains(machine):
        yield f"Event channel information for domain {domain.domid}:"
        yield "Polling vCPUs: {}"
        yield "    port [p/m/s]"
        for number in sorted(domain.events.ports):
            port = domain.events.ports.get(number)
            if port is None:
                continue
            text = (
                f"    {number:4d} [{int(port.pending)}/{int(port.masked)}/  -   ]: "
                f"s={_STATES[port.state]} n={port.vcpu} x=0"
            )
            if port.state == EVTCHNSTAT_virq:
                yield f"{text} v={port.virq}"
            elif port.peer is not None:
                yield f"{text} d={port.remote} p={port.peer.number}"
            else:
                yield f"{text} d={port.remote}"


def grant_tables(machine: Sight) -> Lines:
    """Key g."""
    yield "gnttab_usage_print_all [ key 'g' pressed"
    most = -(-MAX_HANDLES // MAPTRACK_PER_PAGE)
    for domain in _domains(machine):
        table, tracked = domain.grants, len(domain.maptrack.mappings)
        yield "      -------- active --------       -------- shared --------"
        yield "[ref] localdom mfn      pin          localdom gmfn     flags"
        yield f"grant-table for remote d{domain.domid} (v1)"
        yield (
            f"  {table.nr_frames} frames ({MAX_FRAMES} max), "
            f"{-(-tracked // MAPTRACK_PER_PAGE)} maptrack frames ({most} max)"
        )
        if not table.active:
            yield "no active grant table entries"
        # Not all 32768 at once: to sort those takes milliseconds.
        for ref in sorted(islice(table.active, MAX_LINES)):
            active = table.active.get(ref)
            entry = table.entry(ref)
            if active is None or entry is None:
                continue
            flags, domid, gfn = entry
            mfn = domain.memory.machine_frame(active.gfn) or 0
            pin = active.writers | active.readers << 8
            yield (
                f"[0x{ref:03x}]  {active.peer:5d} 0x{mfn:06x} 0x{pin:08x}      "
                f"{domid:5d} 0x{gfn:06x} 0x{flags:02x}"
            )
    yield "gnttab_usage_print_all ] done"


def domain_info(machine: Sight) -> Lines:
    """Key q."""
    yield f"'q' pressed -> dumping domain info (now = {machine.host.now()})"
    for domain in _domains(machine):
        domid = domain.domid
        yield f"General information for domain {domid}:"
        yield f"    refcnt=1 dying={domain.dying} pause_count={domain.pause_count}"
        yield (
            f"    nr_pages={domain.memory.nr_pages} xenheap_pages=0 dirty_cpus={{}} "
            f"max_pages={domain.max_pages}"
        )
        yield f"    handle={_handle(domain)} vm_assist=00000000"
        yield f"Rangesets belonging to domain {domid}:"
        for kind in ("Interrupts", "I/O Memory", "I/O Ports ", "log-dirty "):
            yield f"    {kind} {{ }}"
        yield f"Memory pages belonging to domain {domid}:"
        yield "    DomPage list too long to display"
        yield f"NODE affinity for domain {domid}: [{ranges((1 << machine.heap.nodes) - 1)}]"
        yield f"VCPU information and callbacks for domain {domid}:"
        yield from _vcpus(machine, domain)


def _runs(machine: Sight, domain: Domain) -> Generator[str, None, bool]:
    """Whether a process of it runs: each look is a file of /proc."""
    for token in list(domain.processes):
        if machine.host.running(token):
            return True
        yield NOTHING
    return False


def _vcpus(machine: Sight, domain: Domain) -> Lines:
    running = yield from _runs(machine, domain)
    for vcpu in range(domain.max_vcpus):
        hard, soft = domain.affinity.get(vcpu)
        works = running and vcpu == 0
        flags = 0 if works else _VPF_BLOCKED if vcpu < domain.online_vcpus else _VPF_DOWN
        yield f"  UNIT{vcpu} affinities: hard={{{ranges(hard)}}} soft={{{ranges(soft)}}}"
        yield (
            f"    VCPU{vcpu}: CPU0 [has={'T' if works else 'F'}] poll=0 upcall_pend=00 "
            "upcall_mask=00 "
        )
        yield f"    pause_count=0 pause_flags={flags:x}"
        yield "No periodic timer"


def run_queues(machine: Sight) -> Lines:
    """Key r.  The queues themselves are Linux'."""
    cpus = ranges((1 << machine.cpus) - 1)
    yield "sched_smt_power_savings: disabled"
    yield f"NOW={machine.host.now()}"
    yield f"Online Cpus: {cpus}"
    yield "Cpupool 0:"
    yield f"Cpus: {cpus}"
    yield "Scheduling granularity: cpu, 1 CPU per sched-resource"
    yield "Scheduler: that of Linux, which shares a CPU evenly (told as credit2)"
    yield "Domain info:"
    number = 0
    for domain in _domains(machine):
        yield f"\tDomain: {domain.domid} w 256 c 0 v {domain.max_vcpus}"
        running = yield from _runs(machine, domain)
        for vcpu in range(domain.max_vcpus):
            number += 1
            flags = 2 if running and vcpu == 0 else 0
            yield f"\t{number:3d}: [{domain.domid}.{vcpu}] flags={flags:x} cpu=0 [w=256]"


def memory(machine: Sight) -> Lines:
    """Key m."""
    yield "Physical memory information:"
    yield "    Xen heap: 0kB free"
    for node in range(machine.heap.nodes):
        yield f"    node[{node}]: {machine.heap.free_on(node) * 4}kB free"
    yield f"    Dom heap: {machine.heap.free * 4}kB free"


def handlers(machine: Sight) -> Lines:
    """Key h."""
    yield "'h' pressed -> showing installed handlers"
    for key in sorted(KEYS):
        yield f" key '{key}' (ascii '{ord(key):02x}') => {KEYS[key][0]}"


KEYS: Final[dict[str, tuple[str, Callable[[Sight], Lines]]]] = {
    "e": ("dump evtchn info", event_channels),
    "g": ("print grant table usage", grant_tables),
    "h": ("show this message", handlers),
    "m": ("memory info", memory),
    "q": ("dump domain (and guest debug) info", domain_info),
    "r": ("dump run queues", run_queues),
}


class Dumps:
    """Prints dumps piece by piece, one after the other."""

    def __init__(self, machine: Sight) -> None:
        self._machine = machine
        self._waiting: list[tuple[Lines, Callable[[], None]]] = []

    @property
    def waiting(self) -> bool:
        """Whether one is being printed."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether too many wait already."""
        return len(self._waiting) >= MAX_WAITING

    def start(self, keys: str, done: Callable[[], None]) -> None:
        """Print what each of *keys* asks for; *done* is called when all of it is on the console."""
        lines = (line for key in keys for line in KEYS[key][1](self._machine))
        self._waiting.append((lines, done))
        if len(self._waiting) == 1:
            self._machine.host.call_later(0, lambda: self._piece(0))

    def _piece(self, printed: int) -> None:
        """Print as much as may be printed at once, from line *printed* on."""
        lines, done = self._waiting[0]
        for _ in range(PIECE):
            line = next(lines, None)
            if line is None or printed >= MAX_LINES:
                if line is not None:
                    self._machine.console.xen(f"... {MAX_LINES} lines is the limit")
                self._end(done)
                return
            if line != NOTHING:
                self._machine.console.xen(line)
                printed += 1
        self._machine.host.call_later(PAUSE, lambda: self._piece(printed))

    def _end(self, done: Callable[[], None]) -> None:
        del self._waiting[0]
        self._machine.raise_virq(VIRQ_CON_RING)
        done()
        if self._waiting:
            self._machine.host.call_later(PAUSE, lambda: self._piece(0))
