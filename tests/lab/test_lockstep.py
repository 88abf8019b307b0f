"""A lab in lockstep, and whoever waits for it outside.

Seen red: with a park that forgets its deadline (a minute goes by and nothing was done in it); with
nanoseconds that are rounded to none; with a patience that nobody asks; with one gate at a
time; with a `down` that waits as long as the lab's own time says.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hvsim.abi.hypercall import HVSIM_SYSCTL_advance, HVSIM_SYSCTL_tape, HYPERVISOR_sysctl
from hvsim.errors import HvsimError
from hvsim.lab.door import Door, DoorError
from hvsim.lab.load import load
from hvsim.lab.lockstep import GateWaits
from hvsim.lab.rundir import RunDir
from hvsim.lab.up import bring_up
from hvsim.wire.boot import Lockstep
from tests.support.labs import Commands, commands

TEXT = """
[lab]
name = "steps"
walls = "what-there-is"
[[domain]]
name = "guest"
memory = 32
program = "programs:PROGRAM"
on_poweroff = "destroy"
"""

PROGRAMS = """
def idle(dom):
    dom.ready()
    dom.serve()

def looks(dom):
    dom.ready()
    while True:
        dom.vcpu.block(0.0)
        dom.vcpu.dispatch()

def calls(dom):
    dom.ready()
    while True:
        dom.hypercall.call(17, 0)
        dom.vcpu.block(0.0)
        dom.vcpu.dispatch()

def deaf(dom):
    dom.ready()
    while True:
        dom.vcpu.block(0.0)

def endless(dom):
    dom.ready()
    while True:
        pass

def asks(dom):
    dom.ready()
    while True:
        dom.hypercall.call(17, 0)
"""


def written(folder: Path, program: str) -> Path:
    (folder / "programs.py").write_text(PROGRAMS, encoding="utf-8")
    file = folder / "steps.toml"
    file.write_text(TEXT.replace("PROGRAM", program), encoding="utf-8")
    return file


def test_its_time_is_its_own(tmp_path: Path) -> None:
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", "--lockstep", str(written(tmp_path, "idle")))
        waits = RunDir(hvsim.base / "steps", {"lockstep": True}).waits()
        assert waits is not None
        with waits:
            before = waits.now()
            assert waits.now() == before, "it stands still"
            begun = time.monotonic()
            waits.pause(600.0)
            assert time.monotonic() - begun < 300.0, "ten minutes cost none"
            assert abs(waits.now() - before - 600.0) < 1e-6
            waits.pause(1e-12)
            assert waits.now() > before + 600.0, "the rest of a nanosecond is one"
            _calls(waits, hvsim.base / "steps" / "hypervisor")
        _many_wait(hvsim.base / "steps" / "hypervisor")
        done = hvsim.run("exec", "guest", "--", "true")
        assert done.returncode == 1
        assert "lab steps is in lockstep, and a program of the machine takes no" in done.stderr
        assert "guest" in hvsim.ok("ps"), "whoever asks lets time go on"
        assert hvsim.ok("xenstore", "read", "/local/domain/1/name") == "guest\n"
        assert hvsim.json("doctor")["well"]
        assert "nothing of it is left" in hvsim.ok("down")


def _many_wait(door: Path) -> None:
    """Each is answered, whoever came before."""

    def wait(_number: int) -> float:
        with GateWaits(door) as waits:
            before = waits.now()
            for _ in range(50):
                waits.pause(0.001)
            return waits.now() - before

    with ThreadPoolExecutor(4) as pool:
        assert all(passed > 0.0499 for passed in pool.map(wait, range(4)))


def _calls(waits: GateWaits, door: Path) -> None:
    made, tape = waits.tape()
    assert made > 0
    assert all(0 <= number < made and which > 0 for number, which in tape.items())
    with GateWaits(door) as other:
        assert other.tape() == (made, tape)
    with Door(door, 10.0) as visit:
        for cmd, words in (
            (HVSIM_SYSCTL_tape, [-1]),
            (HVSIM_SYSCTL_advance, [-1, False]),
            (HVSIM_SYSCTL_advance, [(1 << 62) + 1, False]),
        ):
            with pytest.raises(DoorError, match="EINVAL"):
                visit.call(HYPERVISOR_sysctl, cmd, *words)
        assert visit.call(HYPERVISOR_sysctl, HVSIM_SYSCTL_tape, 1 << 62) == [made, made, []]


def test_who_looks_and_never_waits_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", "--lockstep", str(written(tmp_path, "looks")))
        with GateWaits(hvsim.base / "steps" / "hypervisor") as waits:
            before = waits.now()
            waits.pause(0.01)
            assert waits.now() > before + 0.0099
        hvsim.ok("down", "--now")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("program", ["endless", "asks"])
def test_a_turn_that_does_not_end_is_named(tmp_path: Path, program: str) -> None:
    """Red for who asks the hypervisor again and again, when its patience begins anew each time: the
    lab does not come up, and nobody says why."""
    with pytest.raises(HvsimError, match="d1 main has not come to wait in its vCPU within 6 s"):
        bring_up(
            load(written(tmp_path, program)),
            gather=lambda _: {},
            lockstep=Lockstep(patience=6.0),
        )


def test_who_has_the_turn_is_stopped_at_its_end(tmp_path: Path, here: Commands) -> None:
    """A process that is always busy is slowed down: it has the turn whenever its time is up."""
    file = written(tmp_path, "calls")
    running = bring_up(load(file), gather=lambda _: {}, lockstep=Lockstep(patience=20.0))
    try:
        here.ok("fault", "add", "guest", "cpu=20%")
        with GateWaits(running.run.door) as waits:
            before = waits.now()
            waits.pause(0.2)
            assert waits.now() > before + 0.199
    finally:
        running.down(now=True)


def test_who_adds_a_rule_lets_time_go_on_until_it_is_put_in_place(
    tmp_path: Path, here: Commands
) -> None:
    """Red when that is waited for in the machine's time: nobody has a turn then."""
    running = bring_up(load(written(tmp_path, "idle")), gather=lambda _: {}, lockstep=Lockstep())
    try:
        done = here.run("fault", "add", "guest", "own=nowhere:x")
        assert done.returncode == 1
        assert "there is no module 'nowhere'" in done.stderr
    finally:
        running.down(now=True)


def test_a_lab_that_is_not_in_lockstep_has_no_gate(tmp_path: Path) -> None:
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", str(written(tmp_path, "idle")))
        assert RunDir(hvsim.base / "steps", {}).waits() is None
        with (
            GateWaits(hvsim.base / "steps" / "hypervisor") as waits,
            pytest.raises(DoorError, match="ENOSYS"),
        ):
            waits.pause(0.0)
        hvsim.ok("down", "--now")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("deaf", "s of the lab's time went by in 3 s of the machine's"),
        ("endless", "guest has the turn and does not come to wait in its vCPU; 0.000 s of the"),
    ],
)
def test_a_lab_that_its_runner_has_left_goes_down_within_the_machines_time(
    tmp_path: Path, program: str, told: str
) -> None:
    with commands() as hvsim:
        runner = hvsim.start("up", "--lockstep", str(written(tmp_path, program)))
        assert runner.stdout is not None
        assert any("guest: created" in line for line in runner.stdout)
        runner.kill()
        runner.communicate()
        said = hvsim.ok("down", "--timeout", "1")
        assert told in said
        assert "nothing of it is left" in said
        assert hvsim.json("labs") == []
