"""`hvsim exec` and the person's terminal: no domain holds it, and it is as it was afterwards."""

import itertools
import json
import os
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.lab.processes import descendants
from tests.support.held import identities
from tests.support.labs import Commands
from tests.support.person import Person
from tests.support.waits import wait

DESCRIBE = r"""
for fd in /proc/self/fd/*; do n=${fd##*/}
  stat -L -c "fd $n %D:%i %t:%T %F" /proc/$$/fd/$n 2>/dev/null || :
done >&%d
test -t 0 && echo 0 is a terminal >&%d
test -t 1 && echo 1 is a terminal >&%d
test -t 2 && echo 2 is a terminal >&%d
(: </dev/tty) 2>/dev/null && echo it has /dev/tty >&%d
exit 0
"""
"""What a program holds, written to the descriptor that is put in."""
ROWS = list(itertools.product((True, False), repeat=3))
INTERACTIVE = ((True, True, True), (True, True, False))


@pytest.fixture
def person() -> Iterator[Person]:
    with Person() as made:
        yield made


def argv(lab: Commands, *words: str) -> list[str]:
    return lab.argv("exec", *words)


def sh(lab: Commands, script: str, *options: str, domain: str = "one") -> list[str]:
    return argv(lab, *options, domain, "--", "sh", "-c", script)


def described(
    lab: Commands,
    person: Person,
    folder: Path,
    row: tuple[bool, bool, bool],
    *options: str,
    domain: str = "one",
    controlling: bool = True,
) -> set[str]:
    """What a program says that it holds, started with a terminal at those of 0, 1, 2 that *row*
    says."""
    speaks = 1 if not row[1] else 2 if not row[2] else 1
    files = [folder / str(fd) for fd in range(3)]
    for file in files:
        file.touch()
    with files[0].open("rb") as zero, files[1].open("wb") as one, files[2].open("wb") as two:
        streams = [
            None if terminal else stream.fileno()
            for terminal, stream in zip(row, (zero, one, two), strict=True)
        ]
        process = person.start(
            sh(lab, DESCRIBE.replace("%d", str(speaks)), *options, domain=domain),
            lab.environment,
            controlling=controlling,
            streams=(streams[0], streams[1], streams[2]),
        )
        status = person.wait_end(process)
    said = person.lines if row[speaks] else files[speaks].read_text().splitlines()
    assert status == 0, (said, person.screen)
    return set(said)


def must_not_hold(said: set[str], person: Person) -> None:
    """By file system and inode, which no other file has."""
    device, inode = person.identity
    assert any(line.startswith("fd 0 ") for line in said), said
    assert not [line for line in said if f" {device:x}:{inode} " in line]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "".join("-t"[one] for one in row))
def test_no_program_holds_it_whichever_of_the_three_it_is(
    lab: Commands, person: Person, tmp_path: Path, row: tuple[bool, bool, bool]
) -> None:
    """Red in the seven rows with a terminal when ``plan`` gives everything away, and in three
    when it asks for descriptor 0 alone, as it once did."""
    said = described(lab, person, tmp_path, row)
    must_not_hold(said, person)
    for fd, terminal in enumerate(row):
        assert (f"{fd} is a terminal" in said) == (terminal and row in INTERACTIVE)
    assert ("it has /dev/tty" in said) == (row in INTERACTIVE)
    assert termios.tcgetattr(person.slave) == person.modes


@pytest.mark.parametrize("row", [(True, False, True), (False, True, True), (False, False, True)])
def test_a_terminal_for_each_that_is_one_when_it_is_wanted(
    lab: Commands, person: Person, tmp_path: Path, row: tuple[bool, bool, bool]
) -> None:
    said = described(lab, person, tmp_path, row, "-t")
    must_not_hold(said, person)
    for fd, terminal in enumerate(row):
        assert (f"{fd} is a terminal" in said) == terminal
    assert "it has /dev/tty" in said


def test_none_when_none_is_wanted(lab: Commands, person: Person, tmp_path: Path) -> None:
    said = described(lab, person, tmp_path, (True, True, True), "-T")
    must_not_hold(said, person)
    assert not [line for line in said if "terminal" in line or "tty" in line]


def test_nor_one_that_is_not_the_controlling_one(
    lab: Commands, person: Person, tmp_path: Path
) -> None:
    for row in ((True, True, True), (False, False, True)):
        must_not_hold(described(lab, person, tmp_path, row, controlling=False), person)


def test_nor_a_program_in_domain_0(lab: Commands, person: Person, tmp_path: Path) -> None:
    """It is trusted, but what it leaves behind reads as well."""
    for row in ((True, True, True), (True, False, True), (False, True, False)):
        said = described(lab, person, tmp_path, row, domain="Domain-0")
        must_not_hold(said, person)


def test_what_stays_behind_reads_nothing_that_is_typed_later(
    lab: Commands, person: Person, tmp_path: Path
) -> None:
    """Red when ``plan`` gives everything away: the first line goes to what stayed behind."""
    script = "exec 3<&0; (while read line <&3; do :; done; sleep 1000) & echo begun"
    with (tmp_path / "out").open("wb") as out:
        for row in ((None, None, None), (None, out, None)):
            process = person.start(sh(lab, script), lab.environment, streams=row)
            assert person.wait_end(process) == 0
            assert "begun" in (tmp_path / "out").read_text() + person.screen.decode()
            for number in range(4):
                line = b"line %d for the shell\n" % number
                person.type(line)
                assert person.read_there() == line


# -- a person talks with a program --------------------------------------------------------------


def test_the_window_its_changes_and_the_modes(lab: Commands, person: Person) -> None:
    """The modes are those of the person's: the key that erases, for one."""
    modes = termios.tcgetattr(person.slave)
    modes[6][termios.VERASE] = b"#"
    termios.tcsetattr(person.slave, termios.TCSANOW, modes)
    person.resize(33, 111)
    script = (
        "stty size; stty -a | grep -o ' erase = [^;]*'; trap 'stty size; exit' WINCH; "
        "echo ready; while :; do sleep 0.02; done"
    )
    process = person.start(sh(lab, script), lab.environment)
    person.wait_for(b"ready")
    assert person.raw
    person.resize(44, 55)
    assert person.wait_end(process) == 0
    assert person.lines == ["33 111", " erase = #", "ready", "44 55"]
    assert termios.tcgetattr(person.slave) == modes


def test_keys_go_to_the_program_control_c_as_well(lab: Commands, person: Person) -> None:
    script = "trap 'echo INT' INT; echo ready; read x; echo got $x; read y; echo end $y"
    process = person.start(sh(lab, script), lab.environment)
    person.wait_for(b"ready")
    person.type(b"ab\x7fc\r")
    person.wait_for(b"got ac")
    person.type(b"\x03")
    person.wait_for(b"INT")
    person.type(b"\x04")
    assert person.wait_end(process) == 0
    assert person.lines[-1] == "end"


def test_much_in_both_directions(lab: Commands, person: Person) -> None:
    """More than fits the wire, the terminals and the windows, byte for byte."""
    script = "stty raw -echo; echo ready; head -c 300000 | sha256sum; seq 100000"
    process = person.start(sh(lab, script), lab.environment)
    person.wait_for(b"ready")
    text = b"x" * 299 + b"\n"
    for _ in range(1000):
        person.type(text)
        person.look()
    assert person.wait_end(process) == 0
    import hashlib

    assert hashlib.sha256(text * 1000).hexdigest().encode() in person.screen
    # raw means that its newlines are not made into two
    assert b"".join(b"%d\n" % n for n in range(1, 100001)) in person.screen


def test_tilde_dot_hangs_up_on_a_domain_that_stands_still(lab: Commands, person: Person) -> None:
    process = person.start(sh(lab, "echo ready; sleep 1000", domain="two"), lab.environment)
    person.wait_for(b"ready")
    lab.ok("xl", "pause", "two")
    try:
        person.type(b"\r~.")
        assert person.wait_end(process) == 129
        assert b"hvsim exec: hung up (~.)" in person.screen
        assert termios.tcgetattr(person.slave) == person.modes
    finally:
        lab.ok("xl", "unpause", "two")


# -- a person's terminal in line mode -----------------------------------------------------------


def test_lines_and_the_end_through_a_pipe(lab: Commands, person: Person, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        process = person.start(
            sh(lab, "echo ready >&2; cat"), lab.environment, streams=(None, out, None)
        )
        person.wait_for(b"ready")
        assert not person.raw
        person.type(b"one\ntw")
        person.type(b"o\n\x04")
        assert person.wait_end(process) == 0
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
    assert person.lines == ["ready", "one", "two"]  # the echo is the person's terminal's own


def test_keys_that_another_program_reads_are_left_to_it(
    lab: Commands, person: Person, tmp_path: Path
) -> None:
    """``hvsim exec ... | less``: whoever has switched the terminal's line editing off reads it.

    Red without ``by_lines``."""
    with (tmp_path / "out").open("wb") as out:
        process = person.start(
            sh(lab, "echo ready >&2; exec cat"), lab.environment, streams=(None, out, None)
        )
        person.wait_for(b"ready")
        modes = termios.tcgetattr(person.slave)
        modes[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(person.slave, termios.TCSANOW, modes)
        person.type(b"q")
        time.sleep(0.1)
        assert person.read_there() == b"q"
        termios.tcsetattr(person.slave, termios.TCSANOW, person.modes)
        person.type(b"line\n\x04")
        assert person.wait_end(process) == 0
    assert (tmp_path / "out").read_bytes() == b"line\n"


def test_control_c_is_a_signal_there(lab: Commands, person: Person, tmp_path: Path) -> None:
    script = "trap 'echo INT >&2; exit 5' INT; echo ready >&2; while :; do sleep 0.02; done"
    with (tmp_path / "out").open("wb") as out:
        process = person.start(sh(lab, script), lab.environment, streams=(None, out, None))
        person.wait_for(b"ready")
        person.type(b"\x03")
        assert person.wait_end(process) == 5
    assert b"INT" in person.screen


def test_output_and_errors_come_in_the_order_of_their_writing(
    lab: Commands, person: Person
) -> None:
    script = "for n in 1 2 3 4 5 6 7 8; do echo out $n; echo err $n >&2; done"
    with open(os.devnull, "rb") as null:
        process = person.start(sh(lab, script), lab.environment, streams=(null, None, None))
        assert person.wait_end(process) == 0
    assert person.lines == [f"{word} {n}" for n in range(1, 9) for word in ("out", "err")]


# -- as it was afterwards -----------------------------------------------------------------------


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_after_sigterm(lab: Commands, person: Person) -> None:
    process = person.start(sh(lab, "echo ready; sleep 1000"), lab.environment)
    person.wait_for(b"ready")
    assert person.raw
    process.send_signal(signal.SIGTERM)
    assert person.wait_end(process) == 128 + signal.SIGTERM
    assert termios.tcgetattr(person.slave) == person.modes


def test_stopped_and_continued(lab: Commands, person: Person, tmp_path: Path) -> None:
    """A shell with job control: its terminal is its own while the command is stopped."""
    modes = tmp_path / "modes"
    inner = " ".join(f"'{word}'" for word in argv(lab, "one", "--", "cat"))
    shell = ["sh", "-m", "-c", f"{inner}; stty -a >{modes}.part; mv {modes}.part {modes}; fg"]
    process = person.start(shell, lab.environment)
    wait(lambda: person.raw, "raw mode")
    person.type(b"before\r")
    person.wait_for(b"before\r\nbefore")
    [command] = children(process.pid)
    os.kill(command, signal.SIGTSTP)
    wait(modes.exists, "the shell to go on")
    said = modes.read_text().split()
    assert "icanon" in said
    assert "echo" in said
    wait(lambda: person.raw, "raw mode again")
    person.type(b"after\r")
    person.wait_for(b"after\r\nafter")
    person.type(b"\x04")
    assert person.wait_end(process) == 0
    assert termios.tcgetattr(person.slave) == person.modes


def test_after_the_death_of_the_program_and_of_its_process(lab: Commands, person: Person) -> None:
    process = person.start(sh(lab, "echo ready; kill -9 $$"), lab.environment)
    assert person.wait_end(process) == 137
    process = person.start(sh(lab, "echo again; sleep 1000"), lab.environment)
    person.wait_for(b"again")
    rows = lab.json("ps")["domains"]
    [pid] = [row["pids"]["exec-0"] for row in rows if row["name"] == "one"]
    os.kill(pid, signal.SIGKILL)
    assert person.wait_end(process) == 137
    assert b"hvsim exec: one has ended, and the program with it" in person.screen
    assert termios.tcgetattr(person.slave) == person.modes


def holds_no_terminal(folder: Path, person: Person) -> None:
    """None of the lab's processes holds the terminal that `up` was typed at, or any other as its
    controlling one."""
    top = json.loads((folder / "lab.json").read_text())["hypervisor"]["pid"]
    device, inode = person.identity
    for pid in (top, *descendants(top)):
        assert f"terminal {device}:{inode}" not in identities(pid)
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"


def test_after_the_death_of_the_lab(lab: Commands, person: Person, tmp_path: Path) -> None:
    file = tmp_path / "mortal.toml"
    file.write_text('[[domain]]\nname = "x"\nmemory = 16\nprogram = "domains.guests.idle:main"\n')
    up = person.start(lab.argv("up", "--quiet", str(file)), lab.environment)
    assert person.wait_end(up) == 0, person.screen
    holds_no_terminal(lab.base / "mortal", person)
    words = lab.argv("--lab", "mortal", "exec", "x", "--", "sh", "-c", "echo alive; sleep 1000")
    process = person.start(words, lab.environment)
    person.wait_for(b"alive")
    record = json.loads((lab.base / "mortal" / "lab.json").read_text())
    os.kill(record["hypervisor"]["pid"], signal.SIGKILL)
    assert person.wait_end(process) == 137
    assert termios.tcgetattr(person.slave) == person.modes
    lab.ok("down", "mortal")


def test_in_the_background_it_neither_reads_nor_stops(
    lab: Commands, person: Person, tmp_path: Path
) -> None:
    """``hvsim exec ... > file &``, as one starts it and types on."""
    out = tmp_path / "out"
    inner = " ".join(f"'{word}'" for word in argv(lab, "one", "--", "sh", "-c", "echo done"))
    shell = ["sh", "-m", "-c", f"{inner} >{out} & read line; echo the shell got $line; wait"]
    process: subprocess.Popen[bytes] = person.start(shell, lab.environment)
    wait(lambda: out.exists() and out.read_text() == "done\n", "the program")
    person.type(b"this\n")
    assert person.wait_end(process) == 0
    assert "the shell got this" in person.lines
