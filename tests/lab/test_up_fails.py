"""A lab that does not come up: how soon that is told, in which words, and what is kept of it."""

import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.claim import claim
from hvsim.lab.processes import Identity
from hvsim.lab.rundir import RunDir
from tests.support.labs import Commands, commands

LAB = """
[[domain]]
name = "storage"
memory = 32
role = "driver"
program = "domains.storage:main"

[[domain]]
name = "guest"
memory = 16
program = "guest:main"
disk = ["vdev=xvda,access=r,backend=storage,target=a.img"]

[[image]]
path = "a.img"
size = "1M"
scratch = true
"""
REPORTS = """
def main(dom):
    print("last words on the console", flush=True)
    dom.store.write("error/device/vbd/51712/error", "22 this disk\\x1b[2J is not for me")
    dom.store.write("device/vbd/51712/state", "5")
    dom.serve()
"""
CLOSES = """
def main(dom):
    dom.store.write("device/vbd/51712/state", "5")
    dom.serve()
"""
LAZY = "def main(dom):\n    dom.serve()\n"
LONG = 30.0
"""Seconds: less than the 60 without progress, more than a busy machine takes."""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Commands]:
    with commands() as made:
        made.environment["HVSIM_STATE_DIR"] = str(tmp_path / "state")
        yield made


def write(folder: Path, program: str) -> str:
    (folder / "guest.py").write_text(program)
    (folder / "lab.toml").write_text(LAB)
    return str(folder / "lab.toml")


def test_a_device_that_reports_an_error(made: Commands, tmp_path: Path) -> None:
    """The text and whose it is, at once; and the whole evidence, of a lab that is left as it is.

    Red with ``doomed`` left out of ``wait_ready`` (it ends after 60 s), and with ``_keep`` left out
    of ``_undone``.
    """
    began = time.monotonic()
    done = made.run("up", "--quiet", "--keep", write(tmp_path, REPORTS))
    assert time.monotonic() - began < LONG
    assert done.returncode == 1
    first, *_, left, last = done.stderr.splitlines()
    wrong = r"guest xvda: guest, the frontend, says: 22 this disk\x1b[2J is not for me"
    assert first == f"hvsim: {wrong}"
    assert "hvsim --lab lab ps" in left
    found = re.fullmatch(r"post-mortem: (/.*/1-lab); `hvsim postmortem 1` shows it", last)
    assert found, last
    folder = Path(found[1])
    assert folder == tmp_path / "state" / "post-mortem" / "1-lab"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {"ps.txt", "ps.json", "store.txt", "errors.txt", "timeline.txt", "events.txt"} < {
        entry.name for entry in folder.iterdir()
    }
    assert made.json("labs")[0]["state"] == "failed"
    assert "storage" in made.ok("ps")
    made.ok("down", "--now")

    listed = made.ok("postmortem").splitlines()
    assert re.fullmatch(rf"1 +\d{{4}}-\d\d-\d\d [\d:]+ +lab +{re.escape(wrong)}", listed[1])
    assert listed[2:] == [f"the last 10 are kept, in {tmp_path}/state/post-mortem"]
    shown = made.ok("postmortem", "1")
    for part in (
        wrong,
        r"device/vbd/51712: guest (domain 2) says: 22 this disk\x1b[2J is not for me",
        "guest/xvda: a disk of guest (domain 2), served by storage (domain 1)",
        "Closing (5)",
        "last words on the console",
        "lab.toml",
    ):
        assert part in shown, (part, shown)
    assert made.json("postmortem", "1")["why"] == [wrong.replace(r"\x1b", "\x1b")]
    missing = made.run("postmortem", "7")
    assert (missing.returncode, missing.stderr) == (
        1,
        f"hvsim: no post-mortem 7 in {tmp_path}/state/post-mortem; there are 1\n",
    )


def test_a_half_that_closes_without_a_word(made: Commands, tmp_path: Path) -> None:
    """Nothing is left but the evidence."""
    began = time.monotonic()
    done = made.run("up", "--quiet", write(tmp_path, CLOSES))
    assert time.monotonic() - began < LONG
    assert done.returncode == 1
    assert re.match(
        r"hvsim: guest xvda <- storage: frontend Clos(ing|ed), backend \w+: guest( and storage)? "
        "gave the device up, and said no reason",
        done.stderr,
    ), done.stderr
    assert list(made.base.iterdir()) == []
    assert "Closing (5)" in made.ok("postmortem", "1")


def until_dead(run: RunDir) -> None:
    deadline = time.monotonic() + LONG
    while run.read().running and time.monotonic() < deadline:
        time.sleep(0.01)


def test_how_long_is_waited_and_the_death_of_a_lab(made: Commands, tmp_path: Path) -> None:
    """``--timeout`` and ``--no-wait``; then two labs die: the evidence of one is kept by the ``up``
    that clears it away, that of the other when it is asked for, and once.

    Red with ``_bury`` taken out of ``bring_up``, with ``_leave_evidence`` taken out of the
    hypervisor (no ledger), with ``_leave_word`` taken out of the store (no timeline), and with a
    ``keep_dead`` that does not look whether it has been there.
    """
    file, run = write(tmp_path, LAZY), RunDir(made.base / "lab")
    done = made.run("up", "--quiet", "--timeout", "1.5", file)
    assert done.returncode == 1
    assert done.stderr.startswith("hvsim: the time of --timeout has passed; waiting for: "), done
    assert "guest: its own health check says" in done.stderr.splitlines()[0]
    assert list(made.base.iterdir()) == []

    said = made.ok("up", "--quiet", "--no-wait", file)
    # Walls that this machine cannot raise are told before it.
    assert said.splitlines()[-1].startswith("lab lab is started, and not waited for, after "), said
    hypervisor = run.read().hypervisor
    assert hypervisor is not None
    os.kill(hypervisor.pid, signal.SIGKILL)
    until_dead(run)
    assert "`hvsim postmortem` tells what is known" in made.run("--lab", "lab", "ps").stderr
    made.ok("up", "--quiet", "--no-wait", file)
    shown = made.ok("postmortem", "2")
    assert f"its hypervisor (pid {hypervisor.pid}) is gone without a word" in shown

    made.ok("fault", "kill", "kernel")
    until_dead(run)
    assert [row["number"] for row in made.json("postmortem")] == [3, 2, 1]
    shown = made.ok("postmortem", "3")
    assert re.search(r"lab lab has ended: dom0's kernel \(pid \d+\): killed by", shown), shown
    for part in ("--- log/ledger.log", "--- log/dmesg.log", "guest/xvda: a disk of guest"):
        assert part in shown, (part, shown)
    assert made.ok("down").splitlines() == ["lab lab is down; nothing of it is left"]
    assert [row["number"] for row in made.json("postmortem")] == [3, 2, 1]


def test_a_dead_lab_that_is_cleared_away_unseen(made: Commands) -> None:
    """Red with ``_bury`` taken out of ``down``."""
    run = claim("old", "old.toml", made.base)
    gone = subprocess.Popen(["sleep", "9"])
    identity = Identity.of(gone.pid)
    assert identity is not None
    gone.kill()
    gone.wait()
    run.write(state="running", launcher=None, hypervisor=identity.record())
    (run.log / "toolstack.log").write_text("the toolstack's last words\n")
    said = made.ok("down").splitlines()
    assert said[0].startswith("lab old has ended: its hypervisor (pid ")
    assert said[0].endswith("; `hvsim postmortem 1` shows what is known")
    assert "the toolstack's last words" in made.ok("postmortem", "1")
