"""A record is believed only where nobody else could have written it; and a hypervisor is what holds
the lab's lock, not what a file names."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.cli import main
from hvsim.errors import HvsimError
from hvsim.lab import proof, teardown, trust
from hvsim.lab.claim import claim
from hvsim.lab.processes import Identity
from hvsim.lab.rundir import survey
from hvsim.lab.teardown import take_down

SLEEPER = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HVSIM_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("HVSIM_LAB", raising=False)
    monkeypatch.setattr(teardown, "PROOF_TIMEOUT", 0.1)
    return tmp_path


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of this user that has nothing to do with any lab."""
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        assert process.poll() is None, "it was signalled"


def record(pid: int) -> dict[str, Any]:
    identity = Identity.of(pid)
    assert identity is not None
    return identity.record()


def trap(base: Path, pid: int, **more: Any) -> Path:
    """What somebody puts where a lab would be: it names a process of the victim."""
    folder = base / "trap"
    folder.mkdir(mode=0o700)
    text = {"state": "running", "launcher": None, "hypervisor": record(pid), **more}
    (folder / "lab.json").write_text(json.dumps(text))
    (folder / "lab.json").chmod(0o600)
    return folder


def test_down_signals_nobody_whom_a_record_merely_names(
    base: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    """Red when ``take_down`` does not ask for the lock, or ``recorded`` not for the mark."""
    trap(base, bystander.pid, processes=[record(bystander.pid)], mark="0" * 32)
    lab = survey()[0][0]
    with pytest.raises(HvsimError, match=r"is no hypervisor of this lab .* left alone"):
        take_down(lab, now=True)
    lab.write(hypervisor=None)
    take_down(lab, now=True)  # nobody is left to be ended; the directory goes
    assert not lab.path.exists()


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_directory_that_others_may_change_is_not_believed(
    base: Path, bystander: "subprocess.Popen[bytes]", mode: int
) -> None:
    """Red when ``trust.check`` looks at the owner alone."""
    trap(base, bystander.pid).chmod(mode)
    assert survey()[0] == []
    assert "can be changed by others" in survey()[1]["trap"]


def test_a_record_that_others_may_change_is_not_believed(
    base: Path, bystander: "subprocess.Popen[bytes]"
) -> None:
    (trap(base, bystander.pid) / "lab.json").chmod(0o666)
    assert survey()[0] == []


def test_links_are_not_followed(base: Path, bystander: "subprocess.Popen[bytes]") -> None:
    folder = trap(base, bystander.pid)
    (base / "alias").symlink_to(folder)
    (folder / "lab.json").rename(folder / "real.json")
    (folder / "lab.json").symlink_to("real.json")
    assert survey()[0] == []
    assert set(survey()[1]) == {"trap", "alias"}
    (folder / "lab.json").unlink()
    os.mkfifo(folder / "lab.json", 0o600)  # and nobody waits for a writer
    assert survey()[0] == []


def test_another_user_s_directory_is_not_believed(
    base: Path, bystander: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    """The case of the attack: a directory in /tmp, made by somebody else.  Red without the check
    of the owner."""
    if os.geteuid():
        pytest.skip("only root can make a file of another user's")
    folder = trap(base, bystander.pid)
    os.chown(folder / "lab.json", 65534, 65534)
    os.chown(folder, 65534, 65534)
    assert survey()[0] == []
    for words in (["down", "trap", "--now"], ["ps", "--lab", "trap"]):
        assert main(words) == 1
        assert "belongs to user 65534, not to you" in capsys.readouterr().err
    assert main(["labs"]) == 0
    said = capsys.readouterr()
    assert "belongs to user 65534" in said.err
    assert "No lab" in said.out
    with pytest.raises(HvsimError, match="belongs to user 65534"):
        claim("trap", "f")


def test_the_directory_of_all_labs_must_be_ours_too(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HVSIM_RUN_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    (base / "hvsim").mkdir()
    (base / "hvsim").chmod(0o777)
    with pytest.raises(trust.Untrusted, match="can be changed by others"):
        survey()[0]


HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_kernel_tells_who_holds_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.close(proof.lock(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert proof.holder(path) == 0
    command = [sys.executable, "-c", HOLDER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert proof.holder(path) == process.pid
        process.communicate(timeout=60)
    assert proof.holder(path) == 0
    assert proof.holder(tmp_path / "none") == 0


def test_processes_of_a_dead_lab_carry_its_mark(base: Path) -> None:
    """Those that outlived their hypervisor are ended by `down`: a real daemon of dom0.  Red when
    `recorded` returns nobody."""
    lab = claim("dead", "f")
    mark = str(lab.record["mark"])
    environment = {**os.environ, proof.MARK: mark}
    pipe = subprocess.PIPE
    with subprocess.Popen(SLEEPER, stdin=pipe, stdout=pipe, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()  # only a while after its start does the kernel know it all
        assert proof.carries(process.pid, mark)
        assert not proof.carries(os.getpid(), mark)
        gone = {**record(process.pid), "start_time": 1}
        lab.write(state="running", launcher=None, hypervisor=gone, processes=[record(process.pid)])
        pidfd = os.pidfd_open(process.pid)
        try:
            take_down(lab, now=True)
            assert select.select([pidfd], [], [], 10.0)[0]
        finally:
            os.close(pidfd)
        assert process.wait() in (0, -signal.SIGTERM, -signal.SIGKILL)
    assert not lab.path.exists()
