"""Our store against Xen's own two, in one interleaved run, all on one core, one client for all."""

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.report import ROUNDS, Row, absolute, paired
from benchmarks.store import daemons, loads
from benchmarks.store.daemons import Daemon, Unavailable
from benchmarks.store.loads import Load

READS = 10_000
SIZES = (1_000, 100_000)
JUDGED_ROUNDS = 9
STEADY_ROUNDS = 15
"""Rounds of the rows that are about a few per cent."""

AGAINST_C: tuple[tuple[str, Load, float], ...] = (
    ("read, 1 connection", loads.one(loads.READ, READS), 0.5),
    ("write, 1 connection", loads.one(loads.WRITE, READS), 0.5),
    ("read, 16 connections", loads.sixteen(loads.READ, READS), 0.35),
    ("write, 16 connections", loads.sixteen(loads.WRITE, READS), 0.35),
    ("transaction of five trips", loads.transaction(2_000), 0.4),
    ("directory of 1000 children", loads.one(loads.LIST, 4_000), 0.5),
    ("write and its watch event", loads.watch_event(5_000), 0.5),
    ("connect and read, 200 idle connections", loads.connect_and_read(1_500), 2.0),
)


def run() -> Iterator[Row]:
    """The rows of issue "the store", section "Speed"."""
    with ExitStack() as stack:
        stack.enter_context(_one_core())
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hvsim-bench-")))
        ours = daemons.start(stack, daemons.hvsim, base / "ours")
        loads.furnish(ours)
        theirs = []
        for name, kind in (("c", daemons.c_xenstored), ("ocaml", daemons.oxenstored)):
            try:
                daemon = daemons.start(stack, kind, base / name)
            except Unavailable as reason:
                print(f"  no ratio to this reference: {reason}", file=sys.stderr)
                continue
            loads.furnish(daemon)
            theirs.append(daemon)
        yield from _against(ours, theirs)
        yield from _idle(ours, theirs)
        yield from _processor_time(ours, theirs)
        yield from _sizes(stack, base)


def _against(ours: Daemon, theirs: list[Daemon]) -> Iterator[Row]:
    for what, load, floor in AGAINST_C:
        if not theirs:
            yield absolute(f"store: {what}", partial(load, ours))
        for other in theirs:
            yield paired(
                f"store: {what}, against {other.name}",
                partial(load, ours),
                partial(load, other),
                floor=floor if other.name == "C xenstored" else None,
                rounds=JUDGED_ROUNDS if other.name == "C xenstored" else ROUNDS,
            )


def _idle(ours: Daemon, theirs: list[Daemon]) -> Iterator[Row]:
    """What 200 idle connections cost the active one: the reference is the same daemon alone."""
    alone, beside = loads.one(loads.READ, 3_000), loads.beside_idle(3_000)
    for daemon in (ours, *theirs):
        yield paired(
            f"store: read beside 200 idle connections, {daemon.name} against itself alone",
            partial(beside, daemon),
            partial(alone, daemon),
            floor=0.95 if daemon is ours else None,
            rounds=STEADY_ROUNDS,
        )


def _processor_time(ours: Daemon, theirs: list[Daemon]) -> Iterator[Row]:
    for what, message in (("read", loads.READ), ("write", loads.WRITE)):
        load = loads.cpu(loads.one(message, READS), READS)
        if not theirs:
            yield absolute(f"store: daemon's CPU per {what}", partial(load, ours))
        for other in theirs:
            yield paired(
                f"store: daemon's CPU per {what}, against {other.name}",
                partial(load, ours),
                partial(load, other),
                floor=None,
            )


def _sizes(stack: ExitStack, base: Path) -> Iterator[Row]:
    """The same reads in a small store and in a large one, of nodes all over it."""
    draw = random.Random(1)
    pairs = []
    for size in SIZES:
        daemon = daemons.start(stack, daemons.hvsim, base / str(size))
        paths = [f"/bench/{number % 100}/{number}" for number in range(size)]
        with daemon.connect() as client:
            client.write_many(paths)
        pairs.append((daemon, loads.scattered_reads(draw.sample(paths, SIZES[0]), 4_000)))
    (small, small_load), (large, large_load) = pairs
    yield paired(
        f"store: read among {SIZES[1]} nodes, against {SIZES[0]}",
        partial(large_load, large),
        partial(small_load, small),
        floor=0.9,
        rounds=STEADY_ROUNDS,
    )


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this process and what it starts on one core: no ratio depends on where they land."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
