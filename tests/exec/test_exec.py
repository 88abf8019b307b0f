"""`hvsim exec` as a user types it: descriptors, statuses, signals, terminals, and every death."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.labs import Commands
from tests.support.waits import wait

LIMIT = 30.0


def start(lab: Commands, *words: str, **streams: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        lab.argv("exec", *words),
        env=lab.environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **streams,
    )


def processes(lab: Commands, name: str) -> dict[str, int]:
    rows = lab.json("ps")["domains"]
    [row] = [row for row in rows if row["name"] == name]
    return {str(key): int(value or 0) for key, value in row["pids"].items()}


def test_output_and_status_are_the_programs(lab: Commands) -> None:
    done = lab.run("exec", "one", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_the_program_is_root_in_a_domain_of_its_own(lab: Commands) -> None:
    words = lab.ok("exec", "one", "--", "sh", "-c", "id -u; echo $XEN_DOMID; ls /proc | head -1")
    uid, domid, _ = words.split()
    assert (uid, domid) == ("0", "1")


def test_input_reaches_it_whole_and_so_does_its_output(lab: Commands) -> None:
    data = os.urandom(4 << 20)
    process = start(lab, "two", "--", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(data, timeout=LIMIT)
    assert process.returncode == 0
    assert out == data


def test_what_it_leaves_running_does_not_keep_the_commands_pipes_open(lab: Commands) -> None:
    done = lab.run("exec", "one", "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo begun")
    assert (done.returncode, done.stdout) == (0, "begun\n")


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        (("no-such-program",), 127, "no-such-program: not found"),
        (("/etc",), 126, "/etc: Permission denied"),
        (("sh", "-c", "kill -9 $$"), 137, ""),
    ],
)
def test_what_cannot_run_says_why(
    lab: Commands, command: tuple[str, ...], status: int, text: str
) -> None:
    done = lab.run("exec", "one", "--", *command)
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("nobody", "--", "true"), 1, "there is no domain 'nobody'"),
        (("one",), 2, "no command; write `hvsim exec DOMAIN -- COMMAND ...`"),
        (("--env", "x", "one", "--", "true"), 2, "write --env KEY=VALUE"),
    ],
)
def test_refusals_name_the_remedy(
    lab: Commands, words: tuple[str, ...], status: int, text: str
) -> None:
    done = lab.run("exec", *words)
    assert done.returncode == status
    assert text in done.stderr


def test_signals_reach_the_program(lab: Commands) -> None:
    script = "trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    process = start(lab, "one", "--", "sh", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=LIMIT)
    assert (out, process.returncode) == (b"got TERM\n", 9)


def test_a_program_ends_with_the_command(lab: Commands) -> None:
    process = start(lab, "one", "--", "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert set(processes(lab, "one")) == {"main", "exec-0"}
    process.kill()
    process.communicate(timeout=LIMIT)
    wait(lambda: set(processes(lab, "one")) == {"main"}, "the end of the program")


def test_a_program_ends_with_its_domain(lab: Commands, tmp_path: Path) -> None:
    config = tmp_path / "three.cfg"
    config.write_text(
        'name = "three"\nmemory = 16\nprogram = "domains.guests.idle:main"\n', encoding="utf-8"
    )
    lab.ok("xl", "create", str(config))
    process = start(
        lab, "three", "--", "sh", "-c", "echo ready; sleep 1000",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    lab.ok("xl", "destroy", "three")
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 137
    assert b"three has ended, and the program with it" in err


def state(pid: int) -> str:
    """A letter of proc(5); of a process that has ended, X."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def below(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []  # it has ended
    return [int(child) for child in children] + [p for c in children for p in below(int(c))]


def stands_still(pid: int) -> bool:
    """Stopped, or ended.  Who is in the middle of vfork(2) cannot stop: it waits (state D) for its
    child, which has."""
    letter = state(pid)
    return letter in ("T", "Z") or (letter == "D" and "T" in map(state, below(pid)))


@pytest.mark.parametrize(
    ("stop", "go"), [("xl pause", "xl unpause"), ("fault stall", "fault resume")]
)
def test_a_domain_that_stands_still_does_so_with_its_programs(
    lab: Commands, stop: str, go: str
) -> None:
    """Red without ``Signals`` in hvsim/hypervisor/processes.py."""
    # It says so when both of its programs are there: a domain can stand still before that.
    script = "sleep 1000 & echo ready; while :; do sleep 0.01; done"
    process = start(lab, "two", "--", "sh", "-c", script, stdout=subprocess.PIPE)
    words = ["two", "--process", "exec-0"] if "fault" in stop else ["two"]
    try:
        assert process.stdout is not None
        process.stdout.readline()
        lab.ok(*stop.split(), *words)
        runner = processes(lab, "two")["exec-0"]
        assert all(stands_still(pid) for pid in (runner, *below(runner)))
        assert state(runner) == "T"
        assert len(below(runner)) >= 2
        lab.ok(*go.split(), *words)
        everybody = [runner, *below(runner)]
        wait(lambda: all(state(pid) != "T" for pid in everybody), "all of them to go on")
    finally:
        lab.run(*go.split(), *words)  # else what stands still keeps the pipe open for ever
        process.kill()
        process.communicate(timeout=LIMIT)


def test_many_at_a_time(lab: Commands) -> None:
    started = [
        start(lab, "one", "--", "sh", "-c", f"sleep 0.1; echo {n}", stdout=subprocess.PIPE)
        for n in range(6)
    ]
    outs = [process.communicate(timeout=LIMIT)[0] for process in started]
    assert outs == [f"{n}\n".encode() for n in range(6)]
    assert set(processes(lab, "one")) == {"main"}


def test_dom0_runs_programs_without_walls(lab: Commands) -> None:
    out = lab.ok("exec", "Domain-0", "--", "sh", "-c", "echo $XENSTORED_PATH; pwd")
    store, where = out.split()
    assert store == json.loads(lab.ok("env", "--json"))["XENSTORED_PATH"]
    assert where == os.getcwd()
