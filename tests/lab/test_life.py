"""A lab comes up whole or not at all, and goes whole, however it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.processes import Identity, family
from hvsim.lab.rundir import RunDir
from tests.support.labs import ROOT, TWO_TIER, Commands, commands


@pytest.fixture
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


def run_dir(hvsim_: Commands, name: str = "two-tier") -> RunDir:
    return RunDir(hvsim_.base / name).read()


def members(hvsim_: Commands, name: str = "two-tier") -> list[Identity]:
    hypervisor = run_dir(hvsim_, name).hypervisor
    assert hypervisor is not None
    return family(hypervisor)


def all_gone(identities: list[Identity], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(one.alive() for one in identities):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("sign", "number"),
    [
        ("dom0: hypervisor", signal.SIGINT),
        ("dom0: hypervisor", signal.SIGTERM),
        ("storage: created", signal.SIGINT),
        ("web-frontend: created", signal.SIGTERM),
        ("storage: frontend", signal.SIGINT),
        ("storage: frontend", signal.SIGTERM),
    ],
)
def test_an_interrupted_up_leaves_nothing(
    hvsim_: Commands, tmp_path: Path, sign: str, number: signal.Signals
) -> None:
    """A guest that is never ready keeps `up` from being done before the signal comes."""
    shutil.copytree(TWO_TIER.parent / "guests", tmp_path / "guests")
    late = '[[domain]]\nname = "late"\nprogram = "late:main"\n'
    (tmp_path / "lab.toml").write_text(f"{TWO_TIER.read_text()}\n{late}")
    (tmp_path / "late.py").write_text("def main(dom):\n    dom.sleep(1000)\n")
    with hvsim_.start("up", str(tmp_path / "lab.toml")) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if sign in line:
                break
        started = members(hvsim_)
        assert len(started) > 4
        up.send_signal(number)
        said = up.stdout.read()
    assert up.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert "interrupted" in said
    assert not any(one.alive() for one in started)
    assert list(hvsim_.base.iterdir()) == []


def test_a_killed_up_is_cleared_away_by_down(hvsim_: Commands) -> None:
    with hvsim_.start("up", str(TWO_TIER)) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "storage: created" in line:
                break
        started = members(hvsim_)
        up.kill()
        up.stdout.read()
    assert hvsim_.json("labs")[0]["state"] == "interrupted"
    assert hvsim_.run("up", str(TWO_TIER)).returncode == 1
    hvsim_.ok("down")
    assert not any(one.alive() for one in started)


def test_with_the_hypervisor_goes_everything_and_up_works_again(hvsim_: Commands) -> None:
    hvsim_.ok("up", "--quiet", str(TWO_TIER))
    started = members(hvsim_)
    assert len(started) == 11  # hypervisor, spawner, warden, five of dom0, three domains
    os.kill(started[0].pid, signal.SIGKILL)
    assert all_gone(started)
    assert hvsim_.json("labs")[0]["state"] == "dead"
    assert "ended without `hvsim down`: two-tier" in hvsim_.run("ps").stderr
    hvsim_.ok("up", "--quiet", str(TWO_TIER))
    hvsim_.ok("down", "--now")


def test_down_of_a_lab_whose_toolstack_does_not_answer(hvsim_: Commands) -> None:
    hvsim_.ok("up", "--quiet", str(ROOT / "configs" / "single.toml"))
    started = members(hvsim_, "single")
    [toolstack] = [
        row["pid"] for row in hvsim_.json("ps")["processes"] if row["name"] == "toolstack"
    ]
    os.kill(toolstack, signal.SIGSTOP)
    said = hvsim_.ok("down")
    assert f"the guests could not be asked: stop: toolstack (pid {toolstack}) stands still" in said
    assert not any(one.alive() for one in started)


def test_a_stalled_guest_does_not_hold_up_down(hvsim_: Commands) -> None:
    hvsim_.ok("up", "--quiet", str(ROOT / "configs" / "single.toml"))
    hvsim_.ok("fault", "stall", "guest")
    assert "guest: stands still (SIGSTOP), destroyed" in hvsim_.ok("down")


def test_a_guest_that_fails_is_named_with_its_last_words(hvsim_: Commands, tmp_path: Path) -> None:
    (tmp_path / "broken_guest.py").write_text(
        "def main(dom):\n    raise RuntimeError('the reactor is cold')\n"
    )
    (tmp_path / "lab.toml").write_text(
        '[[domain]]\nname = "g"\nmemory = 16\nprogram = "broken_guest:main"\n'
    )
    done = hvsim_.run("up", "--quiet", str(tmp_path / "lab.toml"))
    assert done.returncode == 1
    assert done.stderr.startswith("hvsim: g crashed before it was ready") or done.stderr.startswith(
        "hvsim: g ended before it was ready"
    )
    assert "RuntimeError: the reactor is cold" in done.stderr
    assert list(hvsim_.base.iterdir()) == []


def test_a_guest_of_one_s_own(hvsim_: Commands, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(
        "def main(dom):\n"
        "    dom.log(f\"hello {dom.args['whom']}\")\n"
        "    dom.ready()\n"
        "    while dom.shutdown_requested is None:\n"
        "        dom.sleep(60)\n"
    )
    (tmp_path / "hello.toml").write_text(
        '[[domain]]\nname = "g"\nmemory = 16\nprogram = "hello:main"\nargs = { whom = "world" }\n'
    )
    hvsim_.ok("up", "--quiet", str(tmp_path / "hello.toml"))
    assert "hello world" in (hvsim_.base / "hello" / "console" / "g.log").read_text()
    assert "g: shut down" in hvsim_.ok("down")


def test_what_lies_where_up_is_typed_is_nobodys_module(hvsim_: Commands, tmp_path: Path) -> None:
    """Seen red, the first: with interpreters that look there; the second, where the
    checkout is not installed as well: without its name handed on."""
    lab = tmp_path / "lab.toml"
    lab.write_text(
        '[lab]\nwalls = "what-there-is"\n[[domain]]\nname = "only"\nprogram = "own:main"\n'
    )
    (tmp_path / "own.py").write_text("def main(dom):\n    dom.ready()\n    dom.serve()\n")
    other = tmp_path / "elsewhere"
    for name in ("hvsim", "domains"):
        (other / name).mkdir(parents=True)
        (other / name / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    # The command as it is installed does not look where it is typed; -m in a checkout does.
    for where, words in ((other, ["-P"]), (ROOT, [])):
        environment = {**hvsim_.environment}
        if where == ROOT:
            del environment["PYTHONPATH"]
        for verb in (["up", "--quiet", str(lab)], ["down", "--now"]):
            argv = [sys.executable, *words, "-m", "hvsim.cli", *verb]
            done = subprocess.run(
                argv, cwd=where, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_images_are_made_once_and_only_scratch_ones_go(hvsim_: Commands, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(
        '[[image]]\npath = "keep.img"\nsize = "1M"\n'
        '[[image]]\npath = "gone.img"\nsize = "1M"\nscratch = true\n'
        '[[domain]]\nname = "g"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
        'disk = ["vdev=xvda,target=keep.img", "vdev=xvdb,target=gone.img"]\n'
    )
    hvsim_.ok("up", "--quiet", str(tmp_path / "lab.toml"))
    assert (hvsim_.base / "lab" / "images" / "gone.img").stat().st_size == 1 << 20
    hvsim_.ok("down")
    assert (tmp_path / "keep.img").stat().st_size == 1 << 20
    assert not (tmp_path / "gone.img").exists()
    (tmp_path / "keep.img").write_bytes(b"mine".ljust(4096, b"\0"))
    hvsim_.ok("up", "--quiet", str(tmp_path / "lab.toml"))
    hvsim_.ok("down")
    assert (tmp_path / "keep.img").read_bytes()[:4] == b"mine"
    assert (tmp_path / "keep.img").stat().st_size == 4096


def test_up_as_json_and_down_without_a_lab_file(hvsim_: Commands, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(
        '[lab]\nname = "tiny"\n'
        '[[domain]]\nname = "g"\nmemory = 16\nprogram = "domains.guests.idle:main"\n'
    )
    found = json.loads(hvsim_.ok("up", "--json", str(tmp_path / "lab.toml")))
    assert (found["name"], found["domids"]) == ("tiny", {"g": 1})
    (tmp_path / "lab.toml").unlink()
    assert hvsim_.json("down") == {"name": "tiny", "leftovers": []}
