"""A virtual disk, guest to driver domain, against the same ring between two C processes."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import places, programs
from benchmarks.group import Group
from benchmarks.jobs import Jobs
from benchmarks.lab import fill, in_memory, lab, pids
from benchmarks.places import PLACES, TWO
from benchmarks.processes import used
from benchmarks.rounds import in_turn
from benchmarks.rows import Pair, Plan, Row
from benchmarks.samples import Sample

SECONDS = 0.12
"""How long one run lasts."""
ONE_PAGE_RING = 32
"""Requests that a ring of one page holds; deeper rows have one of four."""
SLEEP, SPIN = "sleep", "spin"

SIZES = {4096: "4 KiB random", 65536: "64 KiB sequential", 1 << 20: "1 MiB sequential"}
DEPTHS = {4096: (1, 4, 32, 128), 65536: (1, 4, 32), 1 << 20: (4,)}
FLOORS = {("read", 4096, 1): 0.5, ("read", 4096, 32): 0.2}

COMPARES = """\
A guest's program reads or writes through blkfront, a driver domain serves it from an image in
memory; against benchmarks/c/blkring.c, two processes with the same ring code, the same image and
nothing in between.  `sleep`: neither side ever spins (vbd = { spin = false } here).  `spin`: hvsim
as it is, which looks at the ring for up to 30 us (front) and 20 us (back) where that pays; the C
ring looks as long and gives up as soon, at every depth.  Depth is how many requests are on their
way; 128 has a ring of four pages on both sides.  Judged on two cores, where each side has its own.
CPU and sleeps are those of both processes together, per request.  Not in the figures: a disk."""


@dataclass(frozen=True)
class BlockPlan(Plan):
    """`waits` is SLEEP or SPIN, on both sides; `place` where they run."""

    op: str = "read"
    size: int = 4096
    depth: int = 1
    waits: str = SLEEP
    place: str = TWO


def _plans() -> Sequence[BlockPlan]:
    return [
        BlockPlan(
            f"{SIZES[size]} {op}, depth {depth}, {waits}, {place}",
            "C ring",
            floor=FLOORS.get((op, size, depth)) if place == TWO else None,
            op=op,
            size=size,
            depth=depth,
            waits=waits,
            place=place,
        )
        for size in SIZES
        for op in ("read", "write")
        for depth in DEPTHS[size]
        for waits in (SLEEP, SPIN)
        for place in PLACES
    ]


def measure(plans: Sequence[BlockPlan]) -> Sequence[Row]:
    """See `COMPARES`."""
    programs.compiled("blkring")
    with in_memory("block.toml") as file, lab(file) as running, ExitStack() as stack:
        known = pids(running)
        names = ("one", "deep", "sleeper", "deep-sleeper")
        guests = {name: stack.enter_context(Jobs(running, name)) for name in names}
        for name, guest in guests.items():
            fill(file.with_name(f"{name}.img"))
            for op in ("read", "write"):  # every page granted and mapped once
                guest.run("blocks", op, 65536, "sequential", 32, SECONDS)

        def ours(plan: BlockPlan) -> Sample:
            name = _guest(plan)
            storage = "storage" if plan.waits == SPIN else "sleeping-storage"
            both = [known[name], known[storage]]
            places.put(plan.place, both[:1], both[1:])
            words = (plan.op, plan.size, _order(plan), plan.depth, SECONDS)
            with used(both) as use:
                came = guests[name].run("blocks", *words)
            return use.sample(came.figure, came.operations)

        def pair(plan: BlockPlan) -> Pair:
            theirs = _reference(plan, file.with_name(f"{_guest(plan)}.img"))
            return ours(plan), theirs

        return in_turn(plans, pair)


def _guest(plan: BlockPlan) -> str:
    name = "one" if plan.waits == SPIN else "sleeper"
    deep = {"one": "deep", "sleeper": "deep-sleeper"}
    return deep[name] if plan.depth > ONE_PAGE_RING else name


def _order(plan: BlockPlan) -> str:
    return "random" if plan.size == min(SIZES) else "sequential"


def _reference(plan: BlockPlan, image: Path) -> Sample:
    words = (image, plan.op, plan.size, _order(plan), plan.depth, SECONDS, plan.waits)
    return programs.sample(programs.run("blkring", *words, *places.words(plan.place)))


GROUP = Group("block", "a virtual disk, guest to driver domain", COMPARES, _plans(), measure)
