"""What the machine is short of is named as itself, with the number and the remedy."""

import errno
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from hvsim import shortage
from hvsim.abi import errno as xen_errno
from hvsim.abi.hypercall import HYPERVISOR_xen_version, XENVER_version
from hvsim.domain.hypercall import HypercallError
from hvsim.errors import HvsimError
from hvsim.hypervisor.calls import TABLE
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.machine import Machine
from hvsim.lab import shortages
from hvsim.lab.load import load
from hvsim.lab.model import Lab
from hvsim.toolstack.host.reasons import reason
from hvsim.toolstack.host.store import StoreSilent
from hvsim.wire.spawn import Spawn
from hvsim.xs.requests import store_error
from tests.hypervisor.fakes import FakeHost
from tests.support.labs import ROOT, Commands, commands

SINGLE = ROOT / "configs" / "single.toml"


@pytest.fixture
def lab() -> Lab:
    return load(str(SINGLE))


def test_a_machine_with_enough_is_short_of_nothing(lab: Lab, tmp_path: Path) -> None:
    assert list(shortages.found(lab, tmp_path / "not" / "there")) == []


@pytest.mark.parametrize(
    ("have", "said"),
    [
        (
            {"space_left": lambda place: (1 << 20, -1)},
            r"no space left on /.*: 1\.0 MiB are free, and a lab's logs need 4 MiB .*HVSIM_RUN_DIR",
        ),
        ({"space_left": lambda place: (1 << 40, 3)}, r"no space left on /.* and 3 files are free"),
        (
            {"files_limit": lambda: 64},
            r"too few open files: a process may have 64 \(ulimit -n\), and this lab needs at least "
            r"70; allow more: `ulimit -n 1024`",
        ),
        (
            {"processes_left": lambda: [(3, "your user may have 9 processes")]},
            "too few processes: this lab needs 9; your user may have 9 processes",
        ),
        ({"memory_left": lambda: 5 << 20}, "too little memory: 5 MiB are available"),
        (
            {"forbidden_namespace": lambda names: ("user-ns", "/proc/x is 0")},
            r"domain guest: does not start without its walls: user-ns .*: /proc/x is 0; allow them",
        ),
    ],
)
def test_each_shortage(
    lab: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    have: dict[str, Callable[..., object]],
    said: str,
) -> None:
    """Red, each, with its clause taken out of ``found``."""
    for name, number in have.items():
        monkeypatch.setattr(shortage, name, number)
    with pytest.raises(HvsimError, match=said) as refused:
        shortages.check(lab, tmp_path)
    assert len(refused.value.lines) == 1


def test_an_errno_is_told_as_what_it_is(tmp_path: Path) -> None:
    """The same ENOSPC is a disk, or a limit of namespaces."""
    full = OSError(errno.ENOSPC, "No space left on device")
    place = shortage.mount_point(str(tmp_path))
    assert shortage.words(full, str(tmp_path / "a" / "b")).startswith(f"no space left on {place}")
    assert "max_user_namespaces" in shortage.no_namespace(["user-ns"], full)
    assert "disk" not in shortage.no_namespace(["user-ns"], full)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert f"a process may have {limit} (ulimit -n)" in shortage.words(OSError(errno.EMFILE, ""))
    assert shortage.words(OSError(errno.EAGAIN, "")).startswith("no process")
    crowded = OSError(errno.EAGAIN, "no room in its queue of connections", "/run/store")
    assert shortage.words(crowded) == "/run/store: no room in its queue of connections"
    silent = StoreSilent(errno.EAGAIN, "the store does not listen: xenstored stands still")
    assert shortage.told(silent) is None
    assert reason(silent) == str(silent)
    assert shortage.words(OSError(errno.EACCES, "Permission denied")) == "Permission denied"
    assert shortage.told(OSError(errno.EACCES, "")) is None
    assert shortage.words(TimeoutError("xenstored stands still")) == "xenstored stands still"


def test_a_limit_of_processes_is_found_in_the_cgroup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tightest of those around us counts."""
    for name, allowed, used in (("a", "max", 7), ("a/b", "20", 18)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pids.max").write_text(allowed)
        (tmp_path / name / "pids.current").write_text(str(used))
    monkeypatch.setattr(shortage, "_cgroups", lambda kind: [tmp_path / "a/b", tmp_path / "a"])
    found = shortage.processes_left()
    assert (2, f"the limit of {tmp_path}/a/b/pids.max is 20, and 18 are there; raise it") in found
    assert len([text for _, text in found if str(tmp_path) in text]) == 1


def test_a_log_on_a_full_disk_takes_nobody_along() -> None:
    """Red with the ``suppress`` taken out of ``note``: a hypervisor ended of it."""
    program = "from hvsim.speak import note\nnote('x')\nimport os\nos._exit(0)"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert done.returncode == 0


def limited(made: Commands, files: int, *words: str) -> "subprocess.CompletedProcess[str]":
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    return subprocess.run(
        made.argv(*words),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=made.environment,
        preexec_fn=limit,
    )


def test_few_descriptors() -> None:
    """Before anything is started.  Red with ``check`` taken out of ``bring_up``: dom0 crashes."""
    with commands() as made:
        done = limited(made, 64, "up", str(SINGLE))
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr == (
            "hvsim: too few open files: a process may have 64 (ulimit -n), and this lab needs at "
            "least 70; allow more: `ulimit -n 1024`\n"
        )
        assert list(made.base.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "answer", "said"),
    [
        (errno.EMFILE, xen_errno.EMFILE, "no open file is left: a process may have"),
        (errno.ENFILE, xen_errno.EMFILE, "no open file is left on this machine"),
        (errno.ENOMEM, xen_errno.ENOMEM, "no memory is left"),
    ],
)
def test_the_hypervisor_says_what_it_ran_out_of(
    monkeypatch: pytest.MonkeyPatch, number: int, answer: int, said: str
) -> None:
    """In its answer, in the ledger, and in its last words.  Red with ENOMEM for all of them."""

    def refuses(machine: Machine, caller: Process) -> tuple[int]:
        raise OSError(number, os.strerror(number))

    call = (HYPERVISOR_xen_version, XENVER_version)
    monkeypatch.setitem(TABLE, call, (refuses, ()))
    host = FakeHost()
    ledger = Ledger(host.now)
    machine = Machine(host, ledger, 1 << 16)
    dom0 = machine.create_dom0(32, 1, "kernel")
    process = machine.births.spawn(dom0, Spawn(process="kernel"), True)
    served = Dispatcher(machine).serve(process, msgpack.packb(call))
    assert served is not None
    assert msgpack.unpackb(served[0]) == [-answer]
    assert machine.shortage.startswith(said)
    assert any(said in str(record["text"]) for record in ledger.after(0, 1000))


def test_the_toolstack_says_so_too() -> None:
    """An errno of the hypervisor's or of the store's is no shortage of ours, but for one."""
    files = HypercallError(xen_errno.EMFILE, HYPERVISOR_xen_version, 6)
    assert re.match(r"no open file is left: .*ulimit -n.*xen_version command 0x6: EMFILE",
                    reason(files))  # fmt: skip
    memory = HypercallError(xen_errno.ENOMEM, HYPERVISOR_xen_version, 6)
    assert reason(memory) == str(memory)
    quota = store_error(errno.ENOSPC, "write", "/a")
    assert reason(quota) == str(quota)
    assert reason(OSError(errno.ENOSPC, "", "/a")).startswith("no space left on /")


FULL = """
mount -t tmpfs -o size=9m none "$HVSIM_RUN_DIR" || exit 77
"$@" up -q configs/single.toml || exit 1
dd if=/dev/zero of="$HVSIM_RUN_DIR/fill" bs=4k 2>/dev/null
"$@" fault kill toolstack
"$@" xl list
"$@" ps
"$@" fault kill kernel
"$@" postmortem
"$@" down
"""


def test_a_lab_lives_on_a_disk_that_became_full(tmp_path: Path) -> None:
    """Its toolstack comes back, ``ps`` names the disk, and its last words are there.

    Red with the ``suppress`` taken out of ``note`` (the hypervisor ends with the toolstack), and
    with ``_reserve`` taken out (the lab is "gone without a word").
    """
    environment = {**os.environ, "HVSIM_RUN_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hvsim.cli"]
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL, "sh", *command],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    said = done.stdout + done.stderr
    assert re.search(r"^guest +1 +64 ", said, re.M), said
    assert f"no space left on {tmp_path} (0.0 MiB are free); free some\n" in done.stdout
    assert re.search(r"dom0's kernel \(pid \d+\): killed by signal 9; Hardware Dom0", said), said
    assert list(tmp_path.iterdir()) == []
