"""A request that flips after it was published, where one process runs at a time.

A backend that looks once takes what it sees: some requests go elsewhere, and the guest is told.
One that looks again (planted by ``tests/explore``) is led beyond its disk.  Seen red, both: with
goes that follow each other without a pause, so that the slot is whole whenever the peer runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hvsim.faults.scenario.load import load
from hvsim.faults.scenario.onlooker import Onlooker
from hvsim.faults.scenario.run import run
from hvsim.lab.up import Running
from hvsim.wire.boot import Lockstep
from tests.scenarios.short import host

PLANTED = Path(__file__).parents[1] / "explore" / "planted"
pytestmark = pytest.mark.usefixtures("here")
TEXT = (
    """
[scenario]
title = "a request that flips"
[lab]
walls = "what-there-is"
"""
    + host("guest", "second_thoughts:without", "64K")
    + """
[[load]]
domain = "guest"
[[phase]]
name = "it flips"
until = [{ domain = "guest", count = 80, within = "20s" }]
[[fault]]
target = "storage"
media = "slow"
by = "50us..200us"
chance = "50%"
[[fault]]
target = "guest/xvda"
ring = "flip"
half = "front"
at = "16..16"
"""
)
BUG = """
[[fault]]
target = "storage"
own = "double_fetch:plant"
"""


class Reads(Onlooker):
    """What the guest was told, in its own words."""

    console = ""

    def down(self, running: Running) -> None:
        self.console = running.run.console_log("guest").read_text(encoding="utf-8")
        super().down(running)


def made(folder: Path, bug: str) -> tuple[list[str], str]:
    """The problems of a run, and what the guest was told."""
    for module in ("second_thoughts.py", "double_fetch.py"):
        shutil.copy(PLANTED / module, folder)
    file = folder / "flip.toml"
    file.write_text(TEXT + bug, encoding="utf-8")
    reads = Reads()
    row, witness = run(load(file), 2, "", lambda _: None, Lockstep(), reads)
    assert sum(one["kind"] == "fault.fired" and "flip" in one["text"] for one in witness.ledger) > 9
    found = [problem for one in row["checks"] if one["counts"] for problem in one["problems"]]
    return found, reads.console


def test_a_request_that_flips_is_another_to_a_backend_that_looks_once(tmp_path: Path) -> None:
    problems, console = made(tmp_path, "")
    assert problems == []
    assert "failed" in console
    assert "written" in console


def test_a_backend_that_looks_twice_is_led_beyond_its_disk(tmp_path: Path) -> None:
    problems, _ = made(tmp_path, BUG)
    assert any("d.img had 65536 bytes and has" in one for one in problems), problems
