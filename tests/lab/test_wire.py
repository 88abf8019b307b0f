"""The client's end of the control wire, with toolstacks that come late, die and come again."""

import os
import socket
from pathlib import Path
from threading import Thread

from hvsim.lab.wire import Wire
from hvsim.wire.frames import Frames, framed
from tests.support.waits import LIMIT


def listener(tmp_path: Path) -> socket.socket:
    path = tmp_path / "control"
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(LIMIT)
    made.bind(str(path))
    made.listen()
    return made


def taken(conn: socket.socket, count: int) -> list[bytes]:
    conn.settimeout(LIMIT)
    frames = Frames()
    found: list[bytes] = []
    while len(found) < count:
        data = conn.recv(65536)
        assert data
        frames.feed(data)
        while (frame := frames.take()) is not None:
            found.append(frame)
    return found


def test_nobody_listens_and_then_somebody_does(tmp_path: Path) -> None:
    """Red when a message that could not be sent is dropped."""
    wire = Wire(tmp_path / "control")
    wire.send(b"one")
    assert wire.receive(0.05) is None
    with listener(tmp_path) as server:
        assert wire.receive(0.05) is None
        conn, _ = server.accept()
        with conn:
            assert taken(conn, 1) == [b"one"]
            conn.sendall(framed(b"yes") + framed(b"and"))
            assert wire.receive(LIMIT) == b"yes"
            assert wire.receive(0.0) == b"and"
    wire.close()


def test_its_death_is_borne_and_what_was_not_sent_reaches_the_next(tmp_path: Path) -> None:
    """Red when the rest of a message goes to the next one: it would take it for a new one."""
    wire, large = Wire(tmp_path / "control"), b"x" * (2 << 20)
    with listener(tmp_path) as server:
        wire.send(large)
        conn, _ = server.accept()
        assert conn.recv(5000)
        conn.close()
    assert wire.receive(0.05) is None
    with listener(tmp_path) as server:
        found: list[bytes] = []

        def serve() -> None:
            conn, _ = server.accept()
            with conn:
                found.extend(taken(conn, 2))
                conn.sendall(framed(b"both"))

        thread = Thread(target=serve)
        thread.start()
        wire.send(b"small")
        assert wire.receive(LIMIT) == b"both"
        thread.join()
    assert found == [large, b"small"]
    wire.close()


def test_half_an_answer_of_a_dead_one_is_none(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "control")
    with listener(tmp_path) as server:
        wire.send(b"one")
        conn, _ = server.accept()
        conn.sendall(framed(b"answer")[:-1])
        conn.close()
        assert wire.receive(0.05) is None
        again, _ = server.accept()
        with again:
            again.sendall(framed(b"another"))
            assert wire.receive(LIMIT) == b"another"
    wire.close()


def test_what_it_said_before_it_died_is_heard(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "control")
    with listener(tmp_path) as server:
        wire.send(b"one")
        conn, _ = server.accept()
        taken(conn, 1)
        conn.sendall(framed(b"last words"))
        conn.close()
        wire.send(b"two")
        assert wire.receive(LIMIT) == b"last words"
    wire.close()


def test_who_listens_is_known_without_asking(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "control")
    assert wire.listener() is None
    with listener(tmp_path):
        assert wire.listener() == os.getpid()
    wire.close()


def test_flush_ends(tmp_path: Path) -> None:
    wire = Wire(tmp_path / "control")
    with listener(tmp_path):
        wire.send(b"x" * (8 << 20))
        wire.flush(0.05)
    wire.close()
    wire.flush(0.05)
