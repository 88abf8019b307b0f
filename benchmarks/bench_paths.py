"""Event channels and hypercalls between processes of a lab, against raw ping-pongs in C."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import places, programs
from benchmarks.group import Group
from benchmarks.jobs import Jobs
from benchmarks.lab import LABS, lab, pids
from benchmarks.places import PLACES, TWO
from benchmarks.processes import used
from benchmarks.rounds import in_turn
from benchmarks.rows import Pair, Plan, Row
from benchmarks.samples import Sample

SECONDS = 0.15
"""How long one run lasts."""
EVENT, HYPERCALL = "event", "hypercall"

COMPARES = """\
event: one guest rings another and waits until it is rung back (direct event channels, both on
hvsim's loop), against two C processes with an eventfd each: `epoll` listens edge-triggered, as a
domain does that has many channels, `read` blocks on its one bell.  hypercall: a guest asks for
xen_version, against a blocking SOCK_SEQPACKET ping-pong of 24 bytes in C.  Nobody spins on either
side.  An operation is a round trip.  Judged on two cores.  CPU and sleeps are those of the two
processes together."""


@dataclass(frozen=True)
class PathPlan(Plan):
    """`mode` is the C program's, `place` where both sides run."""

    path: str = EVENT
    mode: str = "epoll"
    place: str = TWO


def _plans() -> Sequence[PathPlan]:
    return [
        PathPlan(
            f"{path} round trip, {place}",
            f"C, {mode}",
            floor=0.5 if place == TWO and mode != "read" else None,
            path=path,
            mode=mode,
            place=place,
        )
        for path, modes in ((EVENT, ("epoll", "read")), (HYPERCALL, ("seqpacket",)))
        for place in PLACES
        for mode in modes
    ]


def measure(plans: Sequence[PathPlan]) -> Sequence[Row]:
    """See `COMPARES`."""
    programs.compiled("pingpong")
    with (
        lab(LABS / "pair.toml") as running,
        Jobs(running, "one") as one,
        Jobs(running, "two") as two,
    ):
        there = running.domids["two"]
        # A port belongs to its two ends for life: it can be bound anew after every run.
        port = int(two.run("listen", running.domids["one"]).figure)
        known = pids(running)

        def ours(plan: PathPlan) -> Sample:
            near, far = known["one"], known["two" if plan.path == EVENT else "hypervisor"]
            places.put(plan.place, [near], [far])
            words = ("ping", there, port) if plan.path == EVENT else ("hypercall",)
            with used([near, far]) as use:
                came = one.run(*words, SECONDS)
            return use.sample(came.figure, came.operations)

        def pair(plan: PathPlan) -> Pair:
            at = places.words(plan.place)
            theirs = programs.sample(programs.run("pingpong", plan.mode, SECONDS, *at))
            return ours(plan), theirs

        return in_turn(plans, pair)


GROUP = Group("paths", "event channels and hypercalls", COMPARES, _plans(), measure)
