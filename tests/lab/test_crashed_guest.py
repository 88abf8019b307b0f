"""A guest that has crashed, as `ps`, `logs` and `xl list` show it; what it may import."""

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.labs import Commands, commands

GUEST = """
def main(dom):
    import wanted
    dom.ready()
    for number in range(wanted.LINES):
        dom.log(f"hello {number} " + "y" * 60)
    raise RuntimeError("the reason of the crash")
"""
LAB = """
[lab]
name = "crash"
[[domain]]
name = "idle"
memory = 16
on_crash = "preserve"
program = "domains.guests.idle:main"
"""
CRASHER = 'name = "crasher"\nmemory = 16\nprogram = "crasher:main"\non_crash = "preserve"\n'


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Its guest has logged 200 KB at once and crashed.  ``wanted`` is a library beside the lab."""
    folder, library = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("library")
    (folder / "lab.toml").write_text(LAB, encoding="utf-8")
    (folder / "crasher.cfg").write_text(CRASHER, encoding="utf-8")
    (folder / "crasher.py").write_text(GUEST, encoding="utf-8")
    (library / "wanted.py").write_text("LINES = 3000\n", encoding="utf-8")
    library.chmod(0o755)  # a domain is somebody else
    with commands() as made:
        made.environment["PYTHONPATH"] += f":{library}"
        made.ok("up", "--quiet", str(folder / "lab.toml"))
        made.ok("xl", "create", "crasher.cfg", cwd=folder)
        gone_by = time.monotonic() + 30
        while "has crashed" not in made.ok("ps") and time.monotonic() < gone_by:
            time.sleep(0.05)
        yield made
        made.ok("down", "--now")


def test_its_last_words_are_on_the_console_and_a_hole_is_marked(lab: Commands) -> None:
    """Also that a library on PYTHONPATH is there after the walls.  Seen red with a console that
    drops what comes last: the log ended in the middle of a line; and without
    ``spawn_child.libraries``: ModuleNotFoundError."""
    log = (lab.base / "crash" / "console" / "crasher.log").read_bytes()
    lines = log.decode().splitlines()
    assert lines[-1] == "RuntimeError: the reason of the crash"
    said = sum(len(f"hello {number} ") + 61 for number in range(3000))
    marks = re.findall(rb"\n?\[(\d+) bytes of console output lost\]\n", log)
    trace = log[log.index(b"Traceback") :]
    kept = len(re.sub(rb"\n?\[\d+ bytes of console output lost\]\n", b"", log)) - len(trace)
    # A mark in the middle of a line begins a line of its own.
    assert abs(kept + sum(map(int, marks)) - said) <= len(marks)


def test_ps_and_logs_say_why(lab: Commands) -> None:
    """Seen red without the console's last lines in the picture."""
    why = "crasher (domain 2) has crashed: crasher:main: RuntimeError: the reason of the crash"
    shown = lab.ok("ps").splitlines()
    place = shown.index(why)
    assert shown[place + 1] == "the console of crasher ends:"
    assert shown[place + 4] == "    RuntimeError: the reason of the crash"
    assert re.search(r"^crasher +2 .* ---sc- ", lab.ok("xl", "list"), re.MULTILINE)
    assert lab.ok("logs", "crasher", "-n", "1").splitlines() == [
        "RuntimeError: the reason of the crash",
        why,
    ]
    listed = {row["name"]: row["lines"] for row in lab.json("logs")}
    assert listed == {"idle": [], "crasher": ["RuntimeError: the reason of the crash"]}
    told = lab.json("logs", "crasher")
    assert (told["crash"], len(told["lines"])) == (why, 20)
    assert lab.ok("logs", "crasher", "--raw") == Path(told["path"]).read_text("utf-8")


def test_a_signal_is_named(lab: Commands) -> None:
    """Seen red without ``Census._killed``: "has crashed", and nothing of why."""
    lab.ok("fault", "kill", "idle")
    gone_by = time.monotonic() + 30
    while "idle (domain 1)" not in lab.ok("ps") and time.monotonic() < gone_by:
        time.sleep(0.05)
    why = r"idle \(domain 1\) has crashed: its process \(pid \d+\) was killed by SIGKILL"
    assert re.search(why, lab.ok("ps"))
    assert re.search(why, lab.ok("logs", "idle"))


def test_a_console_that_nobody_had_is_said(lab: Commands) -> None:
    done = lab.run("logs", "nobody")
    assert (done.returncode, done.stderr) == (
        1,
        "hvsim: no domain nobody has had a console here (there: crasher, idle)\n",
    )
    assert lab.run("logs", "../log/kernel").returncode == 1
    assert lab.run("logs", "--raw").returncode == 1


def test_no_terminal_gets_what_a_domain_wrote_as_it_is(lab: Commands) -> None:
    """Seen red without the question whether it is one."""
    screen, terminal = os.openpty()
    try:
        done = subprocess.run(
            lab.argv("logs", "crasher", "--raw"),
            stdout=terminal,
            stderr=subprocess.PIPE,
            timeout=60,
            env=lab.environment,
        )
    finally:
        os.close(screen)
        os.close(terminal)
    assert done.returncode == 1
    assert b"--raw is for a file or a program" in done.stderr


def test_xl_console_in_a_terminal_has_no_staircase(lab: Commands) -> None:
    """What waits on the console of the dead, seen by a person: every line ends in CR LF."""
    screen, terminal = os.openpty()
    try:
        with subprocess.Popen(
            lab.argv("xl", "console", "crasher"),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=lab.environment,
        ) as client:
            seen = b""
            while not seen.endswith((b"reason of the crash\n", b"reason of the crash\r\n")):
                assert select.select([screen], [], [], 30.0)[0], seen
                seen += os.read(screen, 65536)
            os.write(screen, b"\x1d")
            assert client.wait(30) == 0
    finally:
        os.close(screen)
        os.close(terminal)
    assert seen.count(b"\n") == seen.count(b"\r\n") > 100
