"""Flags of an open file belong to all that hold it: nobody relies on one, and nobody hangs.

A thief changes every flag of every shared open file of a lab, and of whatever a domain holds, while
the lab is at work: a disk through a driver domain, event channels, hypercalls, a store, consoles, a
program of the machine with its nodes.
"""

import random
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.lab.processes import Identity, family
from hvsim.lab.rundir import RunDir
from tests.support import thief
from tests.support.labs import Commands, commands
from tests.support.waits import wait

PATIENCE = 60.0
ROUNDS = 8
LAB = """
[lab]
name = "flags"
event_mode = "{mode}"

[[image]]
path = "disk.img"
size = "4M"
scratch = true

[[domain]]
name = "storage"
role = "driver"
memory = 16
program = "domains.storage:main"

[[domain]]
name = "load"
memory = 16
program = "domains.guests.load:main"
extra = "area=512 report=0.05"
disk = ["backend=storage,format=raw,vdev=xvda,access=rw,target=disk.img"]

[[domain]]
name = "program"
memory = 16
program = {{ exec = ["/bin/sh", "-c", "while :; do echo tick; sleep 0.05; done"] }}
"""


class Running:
    """A lab at work, and what a session in it says."""

    def __init__(self, made: Commands) -> None:
        self.made = made
        self.run = RunDir(made.base / "flags").read()
        words = ("exec", "program", "--", "sh", "-c", "while read x; do echo $x; done")
        self.session = subprocess.Popen(
            made.argv(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=made.environment,
            bufsize=0,
        )

    def processes(self) -> list[Identity]:
        hypervisor = self.run.hypervisor
        assert hypervisor is not None
        return family(hypervisor)

    def domains(self) -> set[int]:
        """The processes of domains with walls, the programs of those included."""
        rows = [Identity.of(row["pid"]) for row in self.rows() if row["domid"]]
        return {one.pid for first in rows if first is not None for one in family(first)}

    def lines(self, domain: str) -> int:
        return self.run.console_log(domain).read_bytes().count(b"\n")

    def works(self) -> None:
        """Everybody goes on: the consoles, and who is asked."""
        before = {name: self.lines(name) for name in ("load", "program")}
        wait(
            lambda: all(self.lines(name) > count + 3 for name, count in before.items()),
            "the consoles to go on",
        )
        self.answers()
        assert self.session.stdin is not None
        assert self.session.stdout is not None
        self.session.stdin.write(b"hello\n")
        assert select.select([self.session.stdout], [], [], PATIENCE)[0], "the session hangs"
        assert self.session.stdout.readline() == b"hello\n"

    def answers(self) -> None:
        """Whoever asks the hypervisor, the toolstack or the store is answered."""
        assert "load" in self.made.ok("xl", "list")
        assert {row["name"] for row in self.rows()} >= {"storage", "load", "program"}

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.made.json("ps")["domains"]
        return found


@pytest.fixture(params=["direct", "mediated"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    file = tmp_path / "flags.toml"
    file.write_text(LAB.format(mode=request.param))
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        running = Running(made)
        try:
            yield running
        finally:
            running.session.kill()
            running.session.communicate(timeout=60)
        made.ok("xl", "destroy", "program")  # it does not hear of a shutdown any more
        said = made.ok("down", "flags")
        assert "load: shut down" in said, "it had heard of that"
        assert "nothing of it is left" in said


def test_whoever_holds_a_descriptor_stops_nobody(lab: Running) -> None:
    """Seen red with bells that are rung by write(2): the guest hangs, or the hypervisor; and
    without ``Hypercalls._patiently``: a domain whose connection was taken ends."""
    lab.works()
    before = {row["name"]: row["pid"] for row in lab.rows()}
    everybody = lab.processes()
    domains = lab.domains()
    try:
        stolen = thief.steal(one.pid for one in everybody)
    except PermissionError:
        pytest.skip("this user may not take the descriptors of domains: only root may (ptrace(2))")
    dice = random.Random(8)
    try:
        # The image that a driver alone has open is its own to spoil.
        chosen = [
            one
            for one in stolen
            if len(one.held) > 1 or (one.held & domains and not one.kind.endswith("disk.img"))
        ]
        assert sum(one.bell for one in chosen) > 10
        assert any(one.kind.startswith("socket:") for one in chosen)
        assert any(one.kind.startswith("/memfd:") for one in chosen)
        for _ in range(ROUNDS):
            thief.tamper(chosen, dice)
        lab.works()
        thief.worst(chosen)
        lab.works()
        thief.seal(chosen)
        lab.answers()
    finally:
        thief.give_back(stolen)
    assert {row["name"]: row["pid"] for row in lab.rows()} == before, "somebody died"
