"""Groups of rows in real labs, one short round each: what they measure is there and is counted.

No figure is judged here; that both sides wait as a row says, is.
"""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import (
    bench_block,
    bench_commands,
    bench_paths,
    bench_recovery,
    bench_store,
    lab,
    places,
    rounds,
)
from benchmarks.group import Group
from benchmarks.rows import Plan, Row
from tests.support import optional

pytestmark = pytest.mark.interop

SHORT = 0.02
"""Seconds that a run lasts."""


@pytest.fixture(autouse=True)
def _run_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="hvb-") as base:
        monkeypatch.setenv("HVSIM_RUN_DIR", base)
        # Other tests look whether something was left in /dev/shm.
        monkeypatch.setattr(lab, "MEMORY", Path(base))
        yield


def rows(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *names: str) -> dict[str, Row]:
    """Measure the rows of a group that have these names, once."""
    monkeypatch.setenv("CC", optional.compiler())
    monkeypatch.setattr(module, "SECONDS", SHORT, raising=False)
    once = functools.partial(rounds.in_turn, rounds=1, most=1)
    monkeypatch.setattr(
        module, "in_turn", lambda plans, measure, **_: once(plans, measure), raising=False
    )
    group: Group = module.GROUP
    chosen: list[Plan] = [plan for plan in group.plans if plan.name in names]
    assert {plan.name for plan in chosen} == set(names)
    found = group.measure(chosen)
    for row in found:
        assert not row.left_out
        for side in row.pairs[0]:
            assert (side is None) is (row.plan.against == "" and side is row.pairs[0][1])
            assert side is None or side.figure > 0
    return {row.plan.title: row for row in found}


def test_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the processes that are looked at are not those that ring."""
    found = rows(monkeypatch, bench_paths, "event round trip, free", "hypercall round trip, free")
    assert len(found) == 3
    for row in found.values():
        for side in row.pairs[0]:
            assert side is not None
            assert side.sleeps is not None
            assert side.sleeps > 0.5, row.plan.title


def test_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two sides that never spin, at least one sleeps for each request.  Red for ours when the
    labs' ``vbd = { spin = false }`` is taken out (on a quiet machine with two processors)."""
    names = [
        f"4 KiB random {op}, depth {depth}, {waits}, {places.FREE}"
        for op in ("read", "write")
        for depth, waits in ((1, "sleep"), (1, "spin"), (128, "sleep"))
    ]
    found = rows(monkeypatch, bench_block, *names)
    for title, row in found.items():
        for side in row.pairs[0]:
            assert side is not None
            assert side.cpu
            assert side.sleeps is not None
            if "depth 1, sleep" in title:
                assert side.sleeps > 0.9, title


def test_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_recovery, "KILLS", 2)
    found = rows(monkeypatch, bench_recovery, *(plan.name for plan in bench_recovery.GROUP.plans))
    median, worst = found.values()
    assert len(median.pairs) == 2
    assert worst.pairs[0][0].figure == max(ours.figure for ours, _ in median.pairs)


def test_the_store_of_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    optional.xen_program("xenstored")
    found = rows(monkeypatch, bench_store, f"write, 1 connection, {places.ONE}")
    assert len(found) == 3
    for row in found.values():
        for side in row.pairs[0]:
            assert side is not None
            assert side.cpu
            assert side.tail is not None


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    rows(monkeypatch, bench_commands, "hvsim --help", "hvsim ps")
