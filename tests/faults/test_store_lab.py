"""Rules about the store of a running lab: what a person sees, over the store's own deaths too.

Seen red: with a `Daemon` that passes nothing through the seams, all of it; without the question of
a new program for its rules, the live update; with a `Shelf` that keeps nothing, the last line of
the first; with rules that go at once though who follows them is dead, the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hvsim.errors import HvsimError
from hvsim.faults.grammar import parse
from hvsim.faults.rules import enter
from hvsim.lab.rundir import RunDir
from tests.support.labs import Commands, commands
from tests.support.waits import wait

LAB = """
[[image]]
path = "a.img"
size = "1M"
scratch = true

[[image]]
path = "b.img"
size = "1M"
scratch = true

[[domain]]
name = "storage"
role = "driver"
memory = 64
program = "domains.storage:main"

[[domain]]
name = "web"
memory = 64
program = "domains.guests.idle:main"
disk = ["a.img,raw,xvda,w,backend=storage"]
"""


def states(lab: Commands) -> tuple[int, int]:
    """Of the halves of xvdb, as `ps` has them."""
    [web] = [row for row in lab.json("ps")["domains"] if row["name"] == "web"]
    [disk] = [row for row in web["devices"] if row["vdev"] == "xvdb"]
    return disk["frontend_state"], disk["backend_state"]


def row(lab: Commands, number: int) -> dict[str, object]:
    """A rule, as `fault list` has it."""
    [found] = [one for one in lab.json("fault", "list")["rules"] if one["number"] == number]
    return dict(found)


@contextmanager
def frozen(folder: Path) -> Iterator[Commands]:
    """The lab, with a disk whose handshake rule 1 holds."""
    file = folder / "lab.toml"
    file.write_text(LAB, encoding="utf-8")
    with commands() as lab:
        lab.ok("up", "--quiet", str(file))
        lab.ok("fault", "add", "xenstored", "freeze=web/xvdb@2", "half=back")
        lab.ok("xl", "block-attach", "web", "b.img,raw,xvdb,w,backend=storage")
        wait(lambda: row(lab, 1)["fired"] == 1, "the backend that would leave the state")
        yield lab


def test_a_handshake_stands_still_until_the_rule_goes(tmp_path: Path) -> None:
    with frozen(tmp_path) as lab:
        assert row(lab, 1)["last"] == "web/xvdb: backend's 4 held back"
        assert states(lab) == (3, 2)
        assert "web xvdb waits for storage: frontend Initialised, backend InitWait" in lab.ok("ps")

        # Rules stand in the program that takes its place, and in the one after its death.
        lab.ok("fault", "add", "xenstored", "request=EROFS", "op=read", "path=/tool")
        lab.ok("xenstore", "live-update")
        assert lab.run("xenstore", "read", "/tool").returncode == 1
        before = row(lab, 2)["fired"]
        lab.ok("fault", "kill", "xenstored")
        assert lab.run("xenstore", "read", "/tool").returncode == 1
        assert (before, row(lab, 2)["fired"]) == (1, 2)
        assert states(lab) == (3, 2)
        lab.ok("fault", "remove", "2")
        wait(lambda: lab.run("xenstore", "read", "/tool").returncode == 0, "the rule gone")

        lab.ok("fault", "remove", "1")
        wait(lambda: states(lab) == (4, 4), "the device, connected")
        assert lab.ok("xenstore", "ls", "/tool") == 'xenstored = ""\n', "what was held is done"
        assert lab.ok("xenstore", "control", "check") == "OK\n"
        assert "fault.fired" in lab.ok("events")
        lab.ok("down")


def test_what_a_dead_store_held_is_done_by_the_next_when_the_rule_has_gone(tmp_path: Path) -> None:
    with frozen(tmp_path) as lab:
        lab.ok("fault", "stall", "kernel")  # which would start it again
        lab.ok("fault", "kill", "xenstored")
        lab.ok("fault", "remove", "1")
        lab.ok("fault", "resume", "kernel")
        wait(lambda: states(lab) == (4, 4), "the device, connected")
        assert lab.ok("xenstore", "ls", "/tool") == 'xenstored = ""\n'
        assert lab.json("fault", "list")["rules"] == []
        lab.ok("down")


def test_a_guest_and_a_toolstack_meet_a_store_that_refuses(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    words = 'target = "xenstored"\nquota = "exhaust"\ndomain = "storage"\n'
    file.write_text(f"{LAB}\n[[fault]]\n{words}after = 1000\n", encoding="utf-8")
    with commands() as lab:
        lab.ok("up", "--quiet", str(file))
        assert row(lab, 1)["rule"] == "xenstored quota=exhaust domain=storage after=1000"
        lab.ok("fault", "remove", "1")
        lab.ok("fault", "add", "xenstored", "quota=exhaust", "domain=storage")
        # It would be waited for ten seconds in vain.
        with lab.start("xl", "block-attach", "web", "b.img,raw,xvdb,w,backend=storage") as attach:
            wait(lambda: "d1: store quota 'nodes'" in lab.ok("events"), "the backend's refusal")
            attach.kill()
        lab.ok("fault", "remove", "all")
        assert lab.ok("xenstore", "control", "check") == "OK\n"
        refused = lab.run("fault", "add", "xenstored", "freeze=nobody/xvda@2")
        assert (refused.returncode, refused.stderr.count("nobody: there is no such domain")) == (
            1,
            1,
        )
        lab.ok("down", "--now")


@pytest.mark.parametrize("store", ["xenstored", "oxenstored"])
def test_a_real_daemon_is_not_broken(store: str) -> None:
    run = cast(RunDir, SimpleNamespace(store=store, name="real"))
    draft = parse("xenstored", ["freeze=web/xvda@2"])
    wanted = f"freeze=web/xvda@2 needs hvsim's own store, and lab real has {store}"
    with pytest.raises(HvsimError, match=wanted):
        enter(run, [draft])
