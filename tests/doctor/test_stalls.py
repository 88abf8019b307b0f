"""Each of sixteen stalls of a real lab: the right culprit first, with the right cure, at once.

A stall is looked at until it is what it will be (a request has to get stuck first), and then what
is said of it is held against the table.  What is timed is the work: the best of several looks, as
in tests/observe/test_incidents.py.

Seen red: each row with what finds it taken out: `standing.causes` (who is stopped, paused, dead),
`pairs.symptom` (handshakes, rings, links), `ledger.quotas`, `grants.causes`, `rules._weight` (the
restart loop); "nothing is wrong" with a netfront of which it is expected that it takes its answers
at once (`pairs.LAZY`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.observe.diagnosis.remains import FACTS
from hvsim.observe.evidence import gather
from tests.doctor.stalls import STALLS, Stall, Ward, fits
from tests.support.labs import commands
from tests.support.waits import wait

BOUND = 0.3
LOOKS = 12
LIMIT = 30.0


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with commands() as made:
        yield Ward(made, tmp_path_factory.mktemp("ill"))
        made.ok("down", "ill", "--now")


@pytest.fixture
def healed(ward: Ward) -> Iterator[Ward]:
    yield ward
    ward.heal()


def test_nothing_is_wrong(ward: Ward) -> None:
    row = ward.ask()
    assert (row["well"], row["findings"], row["waits"]) == (True, [], [])
    said = ward.hvsim("doctor", "--lab", "ill")
    assert said == ("lab ill: nobody waits in vain: every device goes on, every process runs\n")


@pytest.mark.parametrize("stall", STALLS, ids=lambda stall: stall.name)
def test_the_culprit_and_the_cure(healed: Ward, stall: Stall) -> None:
    stall.make(healed)
    deadline = time.monotonic() + LIMIT
    while not fits(stall, row := healed.ask(), healed):
        assert time.monotonic() < deadline, row["findings"]
        time.sleep(0.05)
    assert not row["well"]
    times: list[float] = []
    while len(times) < LOOKS and (not times or min(times) > BOUND):
        began = time.monotonic()
        healed.ask()
        times.append(time.monotonic() - began)
    assert min(times) <= BOUND


def test_the_hypervisor_itself_is_stopped(healed: Ward) -> None:
    """Red with `picture` that asks it for holdings all the same."""
    healed.hvsim("fault", "stall", "hypervisor")
    times = []
    for _ in range(LOOKS):
        began = time.monotonic()
        row = healed.ask()
        times.append(time.monotonic() - began)
    [first] = row["findings"]
    assert (first["culprit"], first["what"]) == ("hypervisor", "stopped")
    assert first["cure"] == "hvsim fault resume hypervisor"
    assert min(times) <= BOUND


def test_who_is_slow_is_not_called_stopped(healed: Ward) -> None:
    """Red without the look at `slowed` (compose, rows and trouble)."""
    number = healed.rule("storage", "cpu=10%")
    for _ in range(20):
        assert "stalled" not in healed.hvsim("ps")
        assert {one["culprit"] for one in healed.ask()["findings"]} == {f"rule {number}"}
        time.sleep(0.01)


def test_who_is_paused_is_not_called_stopped(healed: Ward) -> None:
    """Red without the look at paused domains in `compose`."""
    healed.hvsim("xl", "pause", "storage")
    said = healed.hvsim("ps")
    assert "stalled" not in said
    assert "web xvda waits for storage: paused" in said


def test_the_cure_of_a_lost_doorbell_helps(healed: Ward) -> None:
    healed.guest("mute", "mute")
    cures: list[str] = []

    def told() -> bool:
        lost = [one for one in healed.ask()["findings"] if one["what"] == "bell-lost"]
        cures.extend(str(one["cure"]) for one in lost)
        return bool(cures)

    wait(told, "the stall")
    healed.hvsim(*cures[0].partition(" rings")[0].split()[1:])
    [domid] = [one["domid"] for one in healed.made.json("ps")["domains"] if one["name"] == "mute"]
    node = f"/local/domain/{domid}/data/answered"
    wait(lambda: healed.made.run("xenstore", "read", node).returncode == 0, "the answer")


def test_a_rule_that_loses_doorbells_is_named(healed: Ward) -> None:
    number = healed.rule("web/xvda", "bell.drop=100%")
    wait(lambda: healed.ask()["waits"], "the stall")
    first = healed.ask()["findings"][0]
    assert (first["culprit"], first["behind"]) == (f"rule {number}", ["web"])
    assert first["cure"] == f"hvsim fault remove {number}"


def test_a_rule_by_which_a_frontend_takes_no_answer_is_named(healed: Ward) -> None:
    number = healed.rule("web/xvda", "ring=stop", "half=front")
    wait(lambda: not healed.ask()["well"], "the stall")
    first = healed.ask()["findings"][0]
    assert (first["culprit"], first["behind"]) == (f"rule {number}", ["web"])
    assert first["cure"] == f"hvsim fault remove {number}"


def test_a_post_mortem_of_a_stall(healed: Ward, tmp_path: Path) -> None:
    """What is gathered of it says the same afterwards."""
    healed.hvsim("fault", "stall", "storage")
    wait(lambda: healed.ask()["findings"], "the stall")
    files = gather(healed.run)
    assert b"Cure: hvsim fault resume storage" in files["doctor.txt"]
    for name in (FACTS, "store.txt"):
        (tmp_path / name).write_bytes(files[name])
    (tmp_path / "post-mortem.json").write_text('{"lab": "ill", "why": ["it hung"]}')
    said = healed.hvsim("doctor", "--post-mortem", str(tmp_path))
    assert "storage" in said
    assert "Cure: hvsim fault resume storage" in said
