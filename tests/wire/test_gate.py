"""Who is let in to a lab's sockets: the rules, with no socket at all and with a real one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from hvsim.wire.gate import Gate, answer, keep
from hvsim.wire.peer import Credentials, credentials, is_trusted


def ask(address: bytes, version: bytes = b"1.0") -> list[bytes]:
    return answer([version, b"7", b"hvsim", address, b"", b"NULL"])


def mine(pid: int, uid: int | None = None) -> bytes:
    return b"host:%d:%d:%d" % (os.geteuid() if uid is None else uid, os.getegid(), pid)


def test_this_user_s_own_process_is_let_in() -> None:
    assert ask(mine(os.getpid()))[:3] == [b"1.0", b"7", b"200"]


@pytest.mark.parametrize(
    "address", [b"", b"10.0.0.1", b"host:0:0", b"host:0:0:x", b"host:-1:0:1", b"host:0:0:1:"]
)
def test_an_address_that_is_none_is_turned_away(address: bytes) -> None:
    assert ask(address)[2] == b"400"


def test_another_user_is_turned_away() -> None:
    """Red when the id is not looked at."""
    assert ask(mine(os.getpid(), os.geteuid() + 4711))[2] == b"400"


def test_questions_that_are_none_are_answered_with_no() -> None:
    assert ask(mine(os.getpid()), b"2.0")[2] == b"400"
    assert answer([])[2] == b"400"


def test_a_peer_that_has_ended_is_turned_away() -> None:
    """Somebody else may hold its socket now.  Red when a /proc/PID that is not there is trusted."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert not is_trusted(Credentials(process.pid, os.geteuid(), os.getegid()))


def test_whom_we_cannot_see_is_around_us() -> None:
    assert is_trusted(Credentials(0, os.geteuid(), os.getegid()))
    assert not is_trusted(Credentials(0, os.geteuid() + 4711, 0))


def test_credentials_are_the_kernel_s() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert credentials(left) == (os.getpid(), os.geteuid(), os.getegid())


def test_a_gate_lets_a_peer_in_over_a_real_socket(tmp_path: Path) -> None:
    """And without it nobody comes in: a socket that is kept waits for an answer."""
    where = f"ipc://{tmp_path}/s"
    with zmq.Context() as theirs, zmq.Context() as ours:
        gate = Gate(ours)
        with ours.socket(zmq.PULL) as server, theirs.socket(zmq.PUSH) as client:
            client.setsockopt(zmq.LINGER, 0)
            keep(server)
            server.bind(where)
            client.connect(where)
            client.send(b"hello")
            assert not server.poll(200)
            gate.serve()
            assert server.poll(10_000)
        gate.close()
