"""The run directory: one lab of a name at a time, stale records told from running labs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.lab import claim as claims
from hvsim.lab.choose import choose
from hvsim.lab.claim import claim, release
from hvsim.lab.processes import Identity
from hvsim.lab.rundir import base_dir, survey


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HVSIM_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("HVSIM_LAB", raising=False)
    return tmp_path


def me() -> dict[str, object]:
    identity = Identity.of(os.getpid())
    assert identity is not None
    return identity.record()


def test_a_claim_makes_the_directory_for_its_owner_alone(base: Path) -> None:
    run = claim("a", "/x/a.toml")
    assert run.path.stat().st_mode & 0o777 == 0o700
    assert run.state == "starting"
    assert {entry.name for entry in run.path.iterdir()} == {
        "lab.json",
        "ended",
        "xenstored",
        "console",
        "log",
        "images",
        "dom0",
        "zmq",
    }
    release(run)
    assert list(base.iterdir()) == []


def test_a_name_can_be_claimed_once_only() -> None:
    run = claim("a", "f")
    with pytest.raises(HvsimError, match="is being started by pid"):
        claim("a", "f")
    claim("b", "f")
    run.write(state="running", launcher=None, hypervisor=me())
    with pytest.raises(HvsimError, match=r"runs already .* --name OTHER"):
        claim("a", "f")


def test_the_record_of_a_dead_lab_is_taken_over() -> None:
    run = claim("a", "f")
    gone = {**me(), "start_time": 1}  # this pid, but of an earlier process
    run.write(state="running", launcher=None, hypervisor=gone)
    (run.images / "old.img").write_bytes(b"x")
    assert survey()[0][0].state == "dead"
    again = claim("a", "f")
    assert list(again.images.iterdir()) == []


def test_a_record_of_another_boot_is_stale() -> None:
    run = claim("a", "f")
    run.write(state="running", launcher=None, hypervisor={**me(), "boot": "another"})
    assert run.state == "dead"


def test_a_launcher_that_was_killed_leaves_an_interrupted_lab() -> None:
    run = claim("a", "f")
    run.write(launcher={**me(), "start_time": 1}, hypervisor=me())
    assert survey()[0][0].state == "interrupted"


def test_files_of_others_are_not_removed(base: Path) -> None:
    (base / "a").mkdir()
    (base / "a" / "thesis.txt").write_text("mine")
    with pytest.raises(HvsimError, match="holds files that no lab wrote"):
        claim("a", "f")
    assert (base / "a" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 33, "a b"])
def test_names_that_are_no_directory_names(name: str) -> None:
    with pytest.raises(HvsimError, match="lab name"):
        claim(name, "f")


def test_a_path_too_long_for_a_socket_is_refused_before_anything(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = base / ("d" * 100)
    monkeypatch.setenv("HVSIM_RUN_DIR", str(deep))
    with pytest.raises(HvsimError, match="set HVSIM_RUN_DIR to a shorter directory"):
        claim("a", "f")
    assert not deep.exists()


def test_a_base_that_others_can_write_to_is_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HVSIM_RUN_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    (base / "hvsim").mkdir()
    (base / "hvsim").chmod(0o777)
    with pytest.raises(HvsimError, match="not a directory of yours alone"):
        claim("a", "f")


def test_a_base_of_our_own_goes_with_its_last_lab(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HVSIM_RUN_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    first, second = claim("a", "f"), claim("b", "f")
    release(first)
    assert base_dir().exists()
    release(second)
    assert not base_dir().exists()


@pytest.mark.parametrize("step", ["furnish", "_reserve", "_make"])
def test_a_claim_that_is_interrupted_leaves_nothing(
    base: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Red when only the disk's refusals are looked after."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(claims, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            claim("a", "f")
    assert list(base.iterdir()) == []


def test_what_is_left_and_cannot_be_removed_is_named(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when it is met as a file that exists, which no listing shows."""
    (base / ".a").mkdir()
    monkeypatch.setattr(claims, "_clear", lambda _: None)  # as of what is mounted there
    with pytest.raises(HvsimError, match=r"\.a is left of an earlier lab and cannot be removed"):
        claim("a", "f")


def test_a_lab_goes_whole_also_when_its_removal_is_interrupted(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without another try: nobody finds what is left under another name."""
    run = claim("a", "f")
    clear = claims._clear

    def interrupted(path: Path) -> None:
        if path.exists():
            monkeypatch.setattr(claims, "_clear", clear)
            raise KeyboardInterrupt

    monkeypatch.setattr(claims, "_clear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        release(run)
    assert list(base.iterdir()) == []


@pytest.mark.parametrize("does", ["claim('a', 'f')", "release(run)"])
def test_who_is_killed_in_the_middle_leaves_no_half_of_a_lab(base: Path, does: str) -> None:
    """The name is free.  Red when the directory is made, or removed, where the lab is looked for:
    it was full of "files that no lab wrote"."""
    code = f"""
import os, shutil
from hvsim.lab import claim as claims
from hvsim.lab.claim import claim, release

def killed(path, **_):
    for entry in ("lab.json", "ended"):
        os.unlink(os.path.join(path, entry))
    os._exit(9)

def half(where, store):
    where.mkdir()
    os._exit(9)

if {does!r}.startswith("release"):
    run = claim('a', 'f')
    claims._clear = lambda path: killed(path) if os.path.exists(path) else None
else:
    claims.furnish = half
{does}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": "."}, timeout=60.0
    )
    assert done.returncode == 9
    assert [entry.name for entry in base.iterdir()] == [".a"]
    assert survey() == ([], {})
    release(claim("a", "f"))
    assert list(base.iterdir()) == []


def test_a_broken_record_is_no_traceback(base: Path) -> None:
    (base / "a").mkdir()
    for text in ("{", "[]", '{"hypervisor": 3}', '{"hypervisor": {"pid": "x"}}', '{"state": 3}'):
        (base / "a" / "lab.json").write_text(text)
        assert survey()[0][0].state == "dead"


def test_two_starters_at_once_and_only_one_gets_it(base: Path) -> None:
    code = (
        "import sys\nfrom hvsim.lab.claim import HvsimError, claim\n"
        "try:\n    claim('a', 'f')\n    print('got')\n"
        "except HvsimError:\n    print('refused')\nsys.stdout.flush()\nsys.stdin.read()\n"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": "."},
        )
        for _ in range(4)
    ]
    said = []
    for starter in starters:
        assert starter.stdout is not None
        said.append(starter.stdout.readline().strip())
    for starter in starters:
        starter.communicate("")
    assert sorted(said) == ["got", "refused", "refused", "refused"]


def test_which_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HvsimError, match=r"no lab runs in .*hvsim up"):
        choose()
    for name in ("a", "b"):
        claim(name, "f").write(state="running", launcher=None, hypervisor=me())
    with pytest.raises(HvsimError, match=r"2 labs run \(a, b\); say which with --lab NAME"):
        choose()
    assert choose("b").name == "b"
    monkeypatch.setenv("HVSIM_LAB", "a")
    assert choose().name == "a"
    assert choose("b").name == "b"
    with pytest.raises(HvsimError, match=r"--lab c: no such lab .*; running: a, b$"):
        choose("c")
    monkeypatch.setenv("HVSIM_LAB", "over")  # as `hvsim env` left it in this shell
    with pytest.raises(
        HvsimError, match=r"HVSIM_LAB over: .*; running: a, b; `unset HVSIM_LAB` if"
    ):
        choose()


def test_a_dead_lab_is_named_with_its_remedy() -> None:
    claim("a", "f").write(state="running", launcher=None, hypervisor={**me(), "start_time": 1})
    with pytest.raises(HvsimError, match=r"ended without `hvsim down`: a"):
        choose()
    with pytest.raises(HvsimError, match=r"`hvsim down a`, `hvsim postmortem` tells"):
        choose("a")


def test_the_record_is_json_for_other_programs() -> None:
    run = claim("a", "/x/a.toml")
    loaded = json.loads((run.path / "lab.json").read_text())
    assert loaded["name"] == "a"
    assert loaded["lab_file"] == "/x/a.toml"
    assert loaded["format"] == 1


def test_the_last_words_have_their_room() -> None:
    """Whatever the umask is they are believed later.  Red with a file made by ``open``."""
    before = os.umask(0)
    try:
        run = claim("a", "/x/a.toml")
    finally:
        os.umask(before)
    assert run.obituary.stat().st_size == 2048
    assert "never ran" in run.why_ended()  # nothing has been said yet
    with run.obituary.open("r+b") as file:
        file.write(b"signal 9\n")
    assert run.why_ended() == "signal 9"
