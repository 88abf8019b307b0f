"""A guest that turns hostile, on the real hypervisor with the real spawner.

A pair of domains exchanges data over a ring page and event channels all the while; a third
one granted the rogue a page to read and a page to write, and keeps a secret.
"""

from pathlib import Path

from hvsim.spawn.sandbox import WALLS
from tests.hostile.expected import EVERYTHING, MEMORY, SUCCEED_WITHOUT_WALLS, breaches, table
from tests.hostile.machine import run_hostile_lab

#: What the rogue was refused must be in the ledger, in lines of these kinds.
LEDGER = ("hypercall.malformed", "hypercall.refused", "grant.refused")


def test_a_hostile_guest_reaches_nothing_and_harms_nobody(tmp_path: Path) -> None:
    result = run_hostile_lab(tmp_path)
    print(table(result["outcomes"], EVERYTHING))
    assert breaches(result["outcomes"], EVERYTHING) == []
    # Everybody else is alive, undamaged, and went on exchanging.
    assert result["alive"] == {"pinger": True, "ponger": True, "victim": True}
    assert result["intact"]
    before, after, later = result["exchanged"]
    assert 0 < before < after < later
    # The hypervisor took none of the descriptors it was flooded with: what it holds more than
    # before is what the rogue's own life needs.
    start, end = result["descriptors"]
    assert end - start < 60
    # Its lines are limited in rate, the counts are not: some kind may have no line.
    assert all(result["counted"].get(kind) for kind in LEDGER), result["counted"]
    assert {record["kind"] for record in result["ledger"]} & set(LEDGER)


def test_without_walls_it_does(tmp_path: Path) -> None:
    """The negative control: with the walls away, the same table is red where it must be."""
    result = run_hostile_lab(tmp_path, without=WALLS)
    succeeded = {name for name, outcome in result["outcomes"].items() if outcome == "ok"}
    assert SUCCEED_WITHOUT_WALLS - succeeded == set()
    assert result["outcomes"]["make a shared eventfd blocking"] == "ok"
    # And the hypervisor takes no descriptors from a domain that may send some.
    assert result["outcomes"]["descriptor flood"] == "answered"
    start, end = result["descriptors"]
    assert end - start < 60
    # Seals and access modes are the hypervisor's doing and stand without any wall.
    sealed = [name for name in MEMORY if "read-only" in name or "truncate" in name]
    assert [name for name in sealed if name in succeeded] == []
    assert result["intact"]
    assert any("left out for a test" in text for m in result["missing"].values() for text in m)
