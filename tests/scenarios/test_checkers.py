"""Each checker: a history that holds, and one for everything that it must find.

Seen red, each with its checker returning no problem.
"""

from __future__ import annotations

from math import inf

from domains.guests.register import Event, event
from domains.guests.verify import Verdict as Found
from hvsim.faults.checkers.alive import alive
from hvsim.faults.checkers.durability import durable
from hvsim.faults.checkers.foreign import foreign
from hvsim.faults.checkers.grants import grants
from hvsim.faults.checkers.handshakes import handshakes
from hvsim.faults.checkers.operations import Operation, operations
from hvsim.faults.checkers.progress import progress
from hvsim.faults.checkers.quiet import quiet
from hvsim.wire.picture import HoldingsRow


def found(batches: int, **more: object) -> Found:
    return Found("ok", batches=batches, max_batch=batches, **more)  # type: ignore[arg-type]


def test_acknowledged_commits_that_are_there() -> None:
    assert durable([1, 2, 3], found(3), orderly=True).held
    assert durable([1, 2, 3], found(4), orderly=False).held, "one whose line did not get out"


def test_commits_that_are_lost_torn_twice_or_nobodys() -> None:
    def says(told: list[int], image: Found, orderly: bool = True) -> str:
        return " / ".join(durable(told, image, orderly=orderly).problems)

    assert "1 acknowledged commits are not there (first: 3)" in says([1, 2, 3], found(2))
    assert "not there (first: 2)" in says([1, 2, 3], found(3, missing_batches=[2]))
    assert "commits are torn" in says([1, 2], found(2, partial_batches=[2]))
    assert "rows are damaged" in says([1], found(1, damaged_seqs=[4]))
    assert "commit 1 was acknowledged twice" in says([1, 1], found(1))
    assert "nobody was told of it" in says([1], found(2))
    assert "nobody was told of it" in says([1], found(3), orderly=False)
    assert "nothing was proven" in says([], found(0))
    assert "damaged: torn page" in says([1], Found("torn page", 1, 1))


def test_bytes_of_registers() -> None:
    def op(writes: bool, value: int, begun: float, odd: str = "", register: int = 0) -> Operation:
        return Operation(register, writes, value, begun, begun + 1, odd)

    good = [op(False, 0, 0), op(True, 5, 1), op(False, 5, 1)]
    assert foreign(good).held
    for bad, word in (
        (op(False, 6, 4), "nobody had written"),
        (op(False, 5, -1), "nobody had written"),
        (op(False, 5, 4, register=1), "nobody had written"),
        (op(False, 5, 4, "foreign"), "another register"),
        (op(False, -1, 4, "damaged"), "no value at all"),
    ):
        [problem] = foreign([*good, bad]).problems
        assert word in problem
    assert not foreign([op(True, 1, 0)]).held, "nothing read proves nothing"


def test_progress_within_a_bound() -> None:
    assert progress([1.0, 2.5, 3.0], since=2.0, until=9.0, within=1.0, count=2).held
    assert not progress([1.0, 2.5, 3.5], since=2.0, until=9.0, within=1.0, count=2).held
    assert not progress([], since=2.0, until=9.0, within=1.0, count=1).held


def holding(domid: int, peers: list[int], mapped: int = 0) -> HoldingsRow:
    rows = [
        {"ref": n, "peer": peer, "gfn": n, "readers": 0, "writers": 1}
        for n, peer in enumerate(peers)
    ]
    users = len(rows)
    return {"domid": domid, "ports": [], "grants": rows, "mapped": mapped, "users": users}  # type: ignore[typeddict-item]


def test_grants_that_leak() -> None:
    before = {0: holding(0, []), 1: holding(1, [], 2), 2: holding(2, [1, 1])}
    assert grants(before, before, []).held
    moved = {0: holding(0, []), 3: holding(3, [], 1), 2: holding(2, [3])}
    assert grants(before, moved, []).held
    [dead] = grants(before, moved, [1]).problems
    assert dead.startswith("domain 1 is dead")
    [gone] = grants(before, {**moved, 2: holding(2, [3, 1])}, []).problems
    assert gone.startswith("1 pages of domain 2 are mapped by domain 1")
    [kept] = grants(
        before, {0: holding(0, []), 3: holding(3, [], 2), 2: holding(2, [3])}, []
    ).problems
    assert kept.startswith("2 mappings are held")
    assert not grants({}, before, []).held


def test_steps_of_handshakes() -> None:
    records = [{"kind": "domain", "text": "made"}]
    assert handshakes(records).held
    broken = {"kind": "store.handshake", "text": "backend vbd 1: Connected -> InitWait"}
    assert handshakes([*records, broken]).problems == (broken["text"],)
    assert not handshakes(records, gaps=1).held
    assert len(handshakes([broken] * 9).problems) == 6


def test_lines_of_a_console_make_a_history() -> None:
    lines = [
        "[   1.0] register 2 write 17 1.000000 0.000000 begun",
        "register 2 write 17 1.000000 1.500000 ok",
        "register 2 write 18 2.000000 0.000000 begun",
        "register 2 write 18 2.000000 2.500000 failed",
        "register 2 read 17 3.000000 3.500000 ok",
        "register 2 read -1 4.000000 4.500000 damaged",
        "register 2 read 0 5.000000 5.500000 failed",
        "registers: done",
    ]
    events = [one for one in map(event, lines) if one is not None]
    assert len(events) == 7
    assert str(events[1]) == lines[1]
    assert operations(events) == [
        Operation(2, True, 17, 1.0, 1.5),
        Operation(2, True, 18, 2.0, inf),
        Operation(2, False, 17, 3.0, 3.5),
        Operation(2, False, -1, 4.0, 4.5, "damaged"),
    ]
    assert event("register 2 write 17 1.0") is None
    assert event(str(Event(1, False, 2, 3.0, 4.0, "ok"))) == Event(1, False, 2, 3.0, 4.0, "ok")


def test_who_is_told_something_while_nothing_goes_on() -> None:
    assert quiet([1.0, 5.0], since=1.5, until=4.0).held
    assert not quiet([1.0, 2.0], since=1.5, until=4.0).held
    assert not quiet([], since=4.0, until=4.0).held, "no time to look"


def test_guests_that_have_ended() -> None:
    assert alive({"web": "", "db": ""}).held
    [problem] = alive({"web": "", "db": "has crashed: sector 4: zeros"}).problems
    assert problem == "db has crashed: sector 4: zeros"
