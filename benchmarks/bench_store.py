"""The store of a running lab against Xen's own two, with one client for all of them."""

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import places, programs
from benchmarks.group import Group
from benchmarks.lab import LABS
from benchmarks.needs import LeftOut
from benchmarks.places import FREE, ONE
from benchmarks.rounds import Once, in_turn
from benchmarks.rows import Pair, Plan, Row
from benchmarks.samples import Sample
from benchmarks.store.client import Client
from benchmarks.store.daemons import C_ON_DISK, OCAML, C, Daemon, of_lab, started

SECONDS = 0.12
"""How long one run lasts."""
CHILDREN = 1000
SMALL, LARGE = 1_000, 100_000
"""Nodes of the two stores of which one is read beside the other."""

LOADS = {
    "read": "read",
    "write": "write",
    "mkdir": "mkdir + rm",
    "transaction": "transaction of five requests",
    "directory": f"directory of {CHILDREN}",
    "watch": "write and its watch event",
    "connect": "connect and read",
}
"""Those of c/storeload.c, and what they are called here."""
CONNECTIONS = (1, 16, 200)
FLOORS = {
    ("read", 1): 0.5,
    ("write", 1): 0.5,
    ("read", 16): 0.35,
    ("write", 16): 0.35,
    ("transaction", 1): 0.4,
    ("directory", 1): 0.5,
    ("watch", 1): 0.5,
    ("connect", 200): 2.0,
}
"""Against the C daemon, on one core."""
ALONE, FEW = "itself, without them", f"itself, with {SMALL} nodes"

COMPARES = f"""\
The store of a running lab (two quiet guests; journal, keeper, toolstack and history of handshakes
as they are by default), asked at its tools' socket by benchmarks/c/storeload.c; against Xen's own
daemons from Debian, asked by the same program, without a Xen below them and set up as Debian does
it: C xenstored with its tdb in memory, which is its default (rows that say so: on disk), and
oxenstored with merges, quotas and its access log.  Neither journals.  `one core`: daemon and client
share one; `free`: nothing is pinned.  Each connection has one request on its way (connect: the
others are idle), and everybody sleeps in poll, epoll or recv.  The ratio is that of the rates;
p50 and p99 are of how long one operation took; CPU and sleeps are the daemon's, per operation.
Judged: against the C daemon on one core.  Not in the figures: libxenstore, and a domain's ring.
The last rows compare a lab's store with itself: one of {LARGE} nodes with one of {SMALL}."""


@dataclass(frozen=True)
class StorePlan(Plan):
    """`load` of c/storeload.c, for so many `connections`."""

    load: str = "read"
    connections: int = 1
    place: str = ONE
    ours: str = "few"


def _plans() -> Sequence[StorePlan]:
    against = [
        StorePlan(
            f"{LOADS[load]}, {_number(connections)}, {place}",
            daemon,
            floor=FLOORS.get((load, connections)) if daemon == C and place == ONE else None,
            load=load,
            connections=connections,
            place=place,
        )
        for load in LOADS
        for connections in CONNECTIONS
        for place in (ONE, FREE)
        for daemon in _references(load, connections, place)
    ]
    return [
        *against,
        StorePlan("read beside 200 idle connections", ALONE, floor=0.95, load="beside",
                  connections=201),
        StorePlan(f"read among {LARGE} nodes", FEW, floor=0.9, load=f"scatter:{LARGE}",
                  ours="many"),
    ]  # fmt: skip


def _references(load: str, connections: int, place: str) -> Sequence[str]:
    changes = load in ("write", "mkdir", "transaction")
    on_disk = [C_ON_DISK] if changes and connections == 1 and place == ONE else []
    return [C, OCAML, *on_disk]


def _number(connections: int) -> str:
    return f"{connections} connection{'s' * (connections > 1)}"


def measure(plans: Sequence[StorePlan]) -> Sequence[Row]:
    """See `COMPARES`."""
    programs.compiled("storeload")
    with ExitStack() as stack:
        names = {plan.against for plan in plans} | {plan.ours for plan in plans} | {"few"}
        known = _Daemons(stack, names)
        once = Once()

        def pair(plan: StorePlan) -> Pair:
            once.begin(plan)
            theirs = known.reference(plan)
            key = f"{plan.load} {plan.connections} {plan.place}"
            return once.get(key, lambda: _sample(known[plan.ours], plan)), theirs

        return in_turn(plans, pair)


class _Daemons:
    """Every store that rows need, running and furnished; why one cannot be had, else."""

    def __init__(self, stack: ExitStack, names: set[str]) -> None:
        self._stack = stack
        self._known: dict[str, Daemon | LeftOut] = {}
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hvsim-bench-")))
        for number, name in enumerate(sorted(names & {C, C_ON_DISK, OCAML})):
            self._add(name, started(name, base / str(number)))
        for name, nodes in (("few", SMALL), ("many", LARGE)):
            if name in names:
                self._add(name, of_lab(LABS / "pair.toml", name))
                _scatter(self[name], nodes)

    def __getitem__(self, name: str) -> Daemon:
        found = self._known[name]
        if isinstance(found, LeftOut):
            raise found
        return found

    def reference(self, plan: StorePlan) -> Sample:
        """What `plan` compares with, measured.  Raises LeftOut."""
        if plan.against == ALONE:
            return _sample(self["few"], plan, load="read", connections=1)
        if plan.against == FEW:
            return _sample(self["few"], plan, load=f"scatter:{SMALL}")
        return _sample(self[plan.against], plan)

    def _add(self, name: str, starting: AbstractContextManager[Daemon]) -> None:
        try:
            daemon = self._stack.enter_context(starting)
        except LeftOut as reason:
            self._known[name] = reason
            return
        self._known[name] = daemon
        with Client(daemon.socket) as client:
            client.write_many([f"/bench/directory/{number}" for number in range(CHILDREN)])


def _scatter(daemon: Daemon, nodes: int) -> None:
    """Nodes all over the store, as c/storeload.c looks for them."""
    with Client(daemon.socket) as client:
        client.write_many([f"/scatter/{number % 100}/{number}" for number in range(nodes)])


def _sample(daemon: Daemon, plan: StorePlan, load: str = "", connections: int = 0) -> Sample:
    """One run of the client."""
    places.put(plan.place, [daemon.pid], [])
    _, cpu = places.words(plan.place)
    number = connections or plan.connections
    words = (daemon.socket, load or plan.load, number, SECONDS, cpu, daemon.pid)
    return programs.sample(programs.run("storeload", *words))


GROUP = Group("store", "xenstore, as tools see it", COMPARES, _plans(), measure)
