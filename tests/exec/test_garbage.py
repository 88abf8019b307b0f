"""Either end of the exec wire says what it likes: the other goes on, in bounded time, and with a
sentence.

Red with ``msgpack.unpackb`` in place of ``unpack``, and with the answers that are not checked.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.lab import exec_session
from hvsim.lab.control import Control
from hvsim.lab.exec_session import KILLED, Outcome, Outflow, Session
from hvsim.lab.keys import Keys
from hvsim.lab.rundir import RunDir
from hvsim.lab.terminal import Port
from hvsim.spawn import exec_process
from hvsim.wire import rights
from hvsim.wire.control import Ps
from hvsim.wire.execution import MESSAGE_MAX
from hvsim.wire.lab_requests import Exec
from tests.support.labs import Commands
from tests.support.waits import wait

LIMIT = 30.0

# -- a domain that says garbage to the command ----------------------------------------------------


def session(said: list[bytes]) -> tuple[Outcome, bytes]:
    """How a session ends whose other end says *said* and hangs up; what it has shown."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, writer = os.pipe()
    try:
        with ours, theirs:
            for message in said:
                theirs.send(message)
            theirs.shutdown(socket.SHUT_WR)
            port = Port(writer, os.O_WRONLY)
            outcome = Session(ours, "rogue", None, [Outflow(port)], None, -1).run()
        os.set_blocking(reader, False)
        with contextlib.suppress(BlockingIOError):
            return outcome, os.read(reader, 1 << 16)
        return outcome, b""
    finally:
        os.close(reader)
        os.close(writer)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NEARLY = st.tuples(st.sampled_from(["out", "took", "exit", "failed", "in", "size"]), VALUES, VALUES)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.binary(min_size=1, max_size=100)
        | VALUES.map(msgpack.packb)
        | NEARLY.map(lambda words: msgpack.packb(list(words)))
        | NEARLY.map(lambda words: msgpack.packb(list(words[:2]))),
        max_size=5,
    )
)
def test_whatever_a_domain_says_it_ends(said: list[bytes]) -> None:
    outcome, _ = session(said)
    assert 0 <= outcome.status <= 255


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ([], KILLED, "rogue has ended, and the program with it"),
        ([["exit", 3]], 3, ""),
        ([["out", b"x"], ["exit", 0]], 0, ""),
        ([["failed", 127, "\x1b[2J"]], 127, "\x1b[2J"),
        ([["exit", 256]], KILLED, "what came from rogue is no message of hvsim exec"),
        ([["exit", -1]], KILLED, "no message of hvsim exec"),
        ([["exit", "0"]], KILLED, "no message of hvsim exec"),
        ([["out", "text"]], KILLED, "no message of hvsim exec"),
        ([["took", -5]], KILLED, "no message of hvsim exec"),
        ([["took", 1 << 40]], KILLED, "no message of hvsim exec"),
        ([{"exit": 0}], KILLED, "no message of hvsim exec"),
        ([["out", bytes(MESSAGE_MAX)]], KILLED, "no message of hvsim exec"),
    ],
)
def test_what_is_no_answer(said: list[Any], status: int, text: str) -> None:
    outcome, _ = session([msgpack.packb(message) for message in said])
    assert outcome.status == status
    assert text in outcome.text


@pytest.mark.parametrize(
    ("number", "times", "status", "text"),
    [
        (signal.SIGTERM, 1, 128 + signal.SIGTERM, "did not end within 0.2 s of SIGTERM"),
        (signal.SIGHUP, 1, 128 + signal.SIGHUP, "did not end within 0.2 s of SIGHUP"),
        (signal.SIGINT, 3, 128 + signal.SIGINT, "interrupted 3 times"),
    ],
)
def test_a_domain_that_says_nothing_keeps_nobody(
    number: int, times: int, status: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_session, "GRACE", 0.2)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    before, heard = signal.getsignal(number), []

    def send() -> None:
        for _ in range(times):
            wait(lambda: signal.getsignal(number) != before, "the session's handlers")
            os.kill(os.getpid(), number)
            heard.append(msgpack.unpackb(theirs.recv(100)))

    with ours, theirs:
        theirs.settimeout(LIMIT)
        thread = threading.Thread(target=send)
        thread.start()
        outcome = Session(ours, "rogue", None, [], None, -1).run()
        thread.join()
    assert heard == [["signal", number]] * times
    assert outcome.status == status
    assert text in outcome.text


@pytest.mark.parametrize(
    ("typed", "passed", "hung_up"),
    [
        ([b"plain ~. text\r"], b"plain ~. text\r", False),
        ([b"~."], b"", True),
        ([b"ls\r~", b".", b"more"], b"ls\rmore", True),
        ([b"~~.x\r"], b"~.x\r", False),
        ([b"~", b"x"], b"~x", False),
        ([b"\n~~\n~."], b"\n~\n", True),
    ],
)
def test_the_way_out(typed: list[bytes], passed: bytes, hung_up: bool) -> None:
    keys = Keys()
    assert b"".join(keys.feed(part) for part in typed) == passed
    assert keys.hung_up == hung_up


# -- somebody who says garbage to the process in a domain -----------------------------------------

NULL = b"null"
BEGIN = {"streams": ["given"] * 3}


def garbage(name: str, wire: socket.socket) -> None:
    """Misbehave on the connection of a process that wants its descriptors."""
    with open(os.devnull, "r+b") as null:
        fds = [null.fileno()] * 3
        terminal = {"streams": ["terminal"] * 3}
        sent: dict[str, Callable[[], object]] = {
            "hangs up at once": lambda: None,
            "no msgpack": lambda: rights.send(wire, [b"\xc1\xff"], fds),
            "another message": lambda: rights.send(wire, [msgpack.packb(["in", b""])], fds),
            "too few descriptors": lambda: rights.send(wire, [msgpack.packb(BEGIN)], fds[:2]),
            "no descriptors": lambda: wire.send(msgpack.packb(BEGIN)),
            "too many descriptors": lambda: rights.send(wire, [msgpack.packb(BEGIN)], fds * 3),
            "odd streams": lambda: rights.send(wire, [msgpack.packb({"streams": [1, 2, 3]})], fds),
            "too long": lambda: rights.send(wire, [bytes(MESSAGE_MAX + 1)], fds),
            "odd modes": lambda: wire.send(
                msgpack.packb({**terminal, "modes": [1, "x", -5, 2**40, {}, None, [b"a"]]})
            ),
            "odd size": lambda: wire.send(msgpack.packb({**terminal, "size": [-1, 1 << 40]})),
            "garbage afterwards": lambda: (
                wire.send(msgpack.packb(terminal)),
                wire.send(b"\xc1"),
            ),
            "odd messages afterwards": lambda: (
                wire.send(msgpack.packb(terminal)),
                *(
                    wire.send(msgpack.packb(message))
                    for message in (
                        ["signal", 99],
                        ["signal", "x"],
                        ["size", -1, 99999],
                        ["in", "text"],
                        ["in"],
                        {"a": 1},
                        7,
                    )
                ),
            ),
            "too much typed": lambda: (
                wire.send(msgpack.packb(terminal)),
                *(wire.send(msgpack.packb(["in", bytes(8192)])) for _ in range(20)),
            ),
        }
        with contextlib.suppress(OSError):
            sent[name]()


NAMES = [
    "hangs up at once", "no msgpack", "another message", "too few descriptors", "no descriptors",
    "too many descriptors", "odd streams", "too long", "odd modes", "odd size",
    "garbage afterwards", "odd messages afterwards", "too much typed",
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["streams", "modes", "size"]),
        st.lists(st.sampled_from(["given", "terminal", 1]), max_size=4),
    ).map(msgpack.packb),
    count=st.integers(0, 4),
)
def test_any_first_message(data: bytes, count: int) -> None:
    """Understood whole, or refused with every descriptor closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        rights.send(ours, [data], [0] * count)
        before = set(os.listdir("/proc/self/fd"))
        try:
            begin, fds = exec_process.receive(theirs)
        except (OSError, ValueError):
            pass
        else:
            assert len(fds) == begin.streams.count("given") == count
            rights.close(fds)
        assert set(os.listdir("/proc/self/fd")) == before


def test_a_command_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_process, "CONNECT_TIMEOUT", 0.1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(TimeoutError):
        exec_process.receive(theirs)


@pytest.fixture(scope="module")
def control(lab: Commands) -> Iterator[Control]:
    run = RunDir(lab.base / "exec").read()
    with Control(run.control, alive=lambda: run.running) as wire:
        yield wire


def sessions(control: Control) -> set[str]:
    [row] = [row for row in control.data(Ps())["domains"] if row["name"] == "one"]
    return set(row["pids"]) - {"main"}


@pytest.mark.parametrize("name", NAMES)
def test_the_process_of_a_program_bears_it(
    lab: Commands, control: Control, tmp_path: Path, name: str
) -> None:
    log = lab.base / "exec" / "log" / "exec.log"
    before = log.stat().st_size if log.exists() else 0
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(LIMIT)
        answer = control.request(Exec("one", ["sleep", "1000"], path))
        assert answer.exit == 0, answer.err
        with listener.accept()[0] as wire:
            wire.settimeout(LIMIT)
            garbage(name, wire)
            if name in ("no msgpack", "too few descriptors", "odd streams", "too long"):
                said = msgpack.unpackb(wire.recv(4096))
                assert said[:2] == ["failed", 126]
                assert "hvsim exec did not say what the program's descriptors are" in said[2]
    deadline = time.monotonic() + LIMIT
    while sessions(control):
        assert time.monotonic() < deadline, "the process is still there"
        time.sleep(0.02)
    with log.open("rb") as file:
        file.seek(before)
        assert b"Traceback" not in file.read()


def test_a_stranger_is_not_taken_for_the_process(lab: Commands) -> None:
    """Who else connects to the command's socket gets nothing, and the command goes on.

    Red without the look at the peer's credentials: the stranger, who came first, is handed the
    descriptors."""
    lab.ok(
        "fault", "stall", "spawner"
    )  # the program's process is not made before the stranger came
    try:
        with (
            lab.start("exec", "one", "--", "echo", "well") as command,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger,
        ):
            wait(lambda: _comes_in(stranger, lab.base / "exec"), "the stranger to come in")
            lab.ok("fault", "resume", "spawner")
            assert command.communicate(timeout=LIMIT)[0] == "well\n"
            stranger.settimeout(LIMIT)
            assert rights.receive(stranger, MESSAGE_MAX, 3) == (b"", [])
    finally:
        lab.run("fault", "resume", "spawner")


def _comes_in(stranger: socket.socket, base: Path) -> bool:
    """Whether there is a command's socket, and it took the connection."""
    for folder in base.glob("x*"):
        with contextlib.suppress(OSError):
            stranger.connect(str(folder / "s"))
            return True
    return False
