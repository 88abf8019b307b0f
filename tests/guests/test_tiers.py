"""The three tiers: what they say to each other, and all of them on one loop over loopback TCP.

Over real vifs they are in tests/demo.  Red, each tried: a web guest that answers when it has asked;
a client that does not count a lost connection; a server without the limit on what waits; a
connection without the limit on what is unsent.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domains.guests.client import Client
from domains.guests.database import Ledger
from domains.guests.device import FrontDevice
from domains.guests.server import WAITING_MAX, Server
from domains.guests.sockets import UNSENT_MAX, Connection, Listener, address_of
from domains.guests.tiers import (
    COMMIT,
    PIECE,
    Lines,
    Message,
    Messages,
    body,
    committed,
    request,
    response,
)
from domains.guests.verify import verify
from domains.guests.vfs import VolumeVFS
from domains.guests.volume import Volume
from domains.guests.web import Web
from hvsim.domain.domain import Domain
from hvsim.errors import BrokenByPeer
from tests.guests.loopdisk import LoopDisk
from tests.support.hv import Hypervisor

# -- what they say ------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), max_size=8), st.data())
def test_messages_may_come_in_any_pieces(bodies: list[int], data: st.DataObject) -> None:
    stream = b"".join(response("200 OK", "x" * size) for size in bodies)
    messages, found = Messages(), list[Message]()
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += messages.feed(stream[:cut])
        stream = stream[cut:]
    assert [len(message.body) for message in found] == bodies
    assert all(message.first == ("HTTP/1.1", "200", "OK") for message in found)


def test_a_request_reads_back() -> None:
    (message,) = Messages().feed(request("POST", "/commit", "10.0.0.2"))
    assert message == Message(
        ("POST", "/commit", "HTTP/1.1"), {"host": "10.0.0.2", "content-length": "0"}, b""
    )
    assert message.keep


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * 9000,
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
    ],
)
def test_what_is_no_http(stream: bytes) -> None:
    with pytest.raises(BrokenByPeer):
        Messages().feed(stream)


def test_lines_are_bounded() -> None:
    lines = Lines()
    assert lines.feed(b"commit\ncom") == [b"commit"]
    assert lines.feed(b"mit\n") == [b"commit"]
    with pytest.raises(BrokenByPeer):
        lines.feed(b"x" * 200)


@pytest.mark.parametrize("line", [b"", b"committed", b"committed x", b"commit 1", b"committed -1"])
def test_what_is_no_acknowledgement(line: bytes) -> None:
    with pytest.raises(BrokenByPeer):
        committed(line)
    assert committed(b"committed 12") == 12


# -- on one loop --------------------------------------------------------------------------------


class Tiers:
    """Database, web and client of one domain, on loopback."""

    def __init__(self, dom: Domain, image: Path) -> None:
        self.dom = dom
        self.said: list[str] = []
        dom.log = self.said.append  # type: ignore[method-assign, assignment]
        self.disk = LoopDisk(image, 4096)
        self.vfs = VolumeVFS(f"tiers-{id(self)}", Volume(FrontDevice(self.disk)))
        self.ledger = Ledger(self.vfs.name)
        self.server = Server(dom, self.ledger, 2, 100)
        self.connections: list[Connection] = []
        self.database = Listener(dom, 0, self._accept)
        self.web = Web(dom, ("127.0.0.1", self.database.port))
        self.http = Listener(dom, 0, self._track(self.web.accept))

    def _accept(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.server.accept(connection)

    def _track(self, accept: Callable[[Connection], None]) -> Callable[[Connection], None]:
        def tracked(connection: Connection) -> None:
            self.connections.append(connection)
            accept(connection)

        return tracked

    def client(self, requests: int) -> Client:
        return Client(self.dom, ("127.0.0.1", self.http.port), 0.0, requests)

    def run(self, done: Callable[[], bool], serve: bool = True) -> None:
        for _ in range(20000):
            if done():
                return
            if self.dom.vcpu.block(0.01):
                self.dom.vcpu.dispatch()
            if serve:
                self.server.work()
        raise AssertionError("\n".join(self.said))

    def close(self) -> None:
        self.database.close()
        self.http.close()
        for connection in self.connections:
            connection.close()
        if self.web.database is not None:
            self.web.database.close()
        self.web.dialer.drop()
        self.ledger.close()
        self.vfs.unregister()
        self.disk.loop.close()


@pytest.fixture
def tiers(tmp_path: Path) -> Iterator[Tiers]:
    with Hypervisor(tmp_path) as hv:
        made = Tiers(hv.domain(64), tmp_path / "disk.img")
        yield made
        made.close()


def test_every_answer_stands_for_a_durable_commit(tiers: Tiers, tmp_path: Path) -> None:
    one, two = tiers.client(20), tiers.client(20)
    tiers.run(lambda: one.done and two.done)
    numbers = [int(line.split()[1]) for line in tiers.said if line.startswith("commit ")]
    assert sorted(numbers) == list(range(1, 41))
    assert numbers == sorted(numbers), "in the order in which they were committed"
    found = verify(tmp_path / "disk.img")
    assert (found.batches, found.sound, found.lost(numbers)) == (40, True, [])
    for client in (one, two):
        assert client.lost == 0
        assert client.connection is not None
        client.connection.close()


def test_nothing_is_acknowledged_before_it_is_done(tiers: Tiers) -> None:
    client = tiers.client(1)
    tiers.run(lambda: bool(tiers.server.waiting), serve=False)
    assert (client.answered, tiers.ledger.batch) == (0, 0)
    tiers.run(lambda: client.done)
    assert tiers.ledger.batch == 1
    assert client.connection is not None
    client.connection.close()


def test_a_database_that_breaks_off_is_told_and_found_again(tiers: Tiers) -> None:
    tiers.run(lambda: tiers.web.database is not None and len(tiers.connections) == 1)
    client = tiers.client(3)
    tiers.run(lambda: bool(tiers.server.waiting), serve=False)
    tiers.connections[0].close()
    tiers.run(lambda: client.done)
    assert any("502 Bad Gateway" in line for line in tiers.said)
    assert client.lost == 0
    assert client.connection is not None
    client.connection.close()


def test_a_client_counts_the_connections_that_it_loses(tiers: Tiers) -> None:
    client = tiers.client(3)
    tiers.run(lambda: client.answered == 1)
    tiers.connections[-1].close()
    tiers.run(lambda: client.done)
    assert client.lost == 1
    assert client.connection is not None
    client.connection.close()


def ask(tiers: Tiers, data: bytes, port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(data)
        sock.settimeout(0.001)
        answer = b""

        def done() -> bool:
            nonlocal answer
            try:
                piece = sock.recv(65536)
            except TimeoutError:
                return False
            except ConnectionResetError:
                return True
            answer += piece
            return not piece or answer.endswith(b"\n")

        tiers.run(done)
        return answer


def test_what_a_browser_may_ask(tiers: Tiers) -> None:
    port = tiers.http.port
    assert ask(tiers, request("GET", "/", "x"), port).endswith(
        b"0 commits; the database is there\n"
    )
    assert ask(tiers, request("POST", "/commit", "x"), port).endswith(b"\r\n\r\n1\n")
    assert ask(tiers, request("GET", "/other", "x"), port).startswith(b"HTTP/1.1 404")
    assert ask(tiers, b"rubbish\r\n\r\n", port).startswith(b"HTTP/1.1 400")


def test_a_download_comes_whole_and_what_was_asked_later_behind_it(tiers: Tiers) -> None:
    """Red when `send` does not wait for a stream: its answer is then within the body."""
    size = 40 * PIECE + 7
    with socket.create_connection(("127.0.0.1", tiers.http.port)) as sock:
        sock.sendall(request("GET", f"/bytes/{size}", "x") + request("GET", "/", "x"))
        sock.settimeout(0.001)
        answer = b""

        def done() -> bool:
            nonlocal answer
            with contextlib.suppress(TimeoutError):
                answer += sock.recv(1 << 20)
            return answer.endswith(b"is there\n")

        tiers.run(done)
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert first.endswith(b"Content-Length: %d" % size)
    whole, behind = rest[:size], rest[size:]
    assert whole == b"".join(body(size))
    assert len({whole[at : at + PIECE] for at in range(0, size, PIECE)}) == 41
    assert behind.startswith(b"HTTP/1.1 200 OK\r\n")
    assert ask(tiers, request("GET", "/bytes/x", "x"), tiers.http.port).startswith(b"HTTP/1.1 400")


def test_a_peer_that_asks_for_too_much_loses_its_connection_only(tiers: Tiers) -> None:
    with socket.create_connection(("127.0.0.1", tiers.database.port)) as greedy:
        greedy.sendall(COMMIT * (WAITING_MAX + 1))
        tiers.run(lambda: any("is not done here" in line for line in tiers.said), serve=False)
    assert len(tiers.server.waiting) <= WAITING_MAX
    assert ask(tiers, COMMIT, tiers.database.port).startswith(b"committed ")
    assert ask(tiers, b"drop table\n", tiers.database.port) == b""


def test_a_peer_that_takes_nothing_is_let_go(tiers: Tiers) -> None:
    with socket.create_connection(("127.0.0.1", tiers.http.port)):
        tiers.run(lambda: len(tiers.connections) == 2)
        connection = tiers.connections[1]
        for _ in range(100):
            connection.send(bytes(UNSENT_MAX // 4))
        assert not connection.open
        assert len(connection.unsent) <= UNSENT_MAX * 5 // 4


def test_guests_are_found_by_name(tiers: Tiers) -> None:
    tiers.dom.args["hosts"] = {"db-primary": "10.0.0.2/24", "web": "10.0.0.3"}
    assert address_of(tiers.dom, "db-primary") == "10.0.0.2"
    assert address_of(tiers.dom, "192.0.2.1") == "192.0.2.1"
    with pytest.raises(ValueError, match="no guest 'nobody' with an address; there are: db"):
        address_of(tiers.dom, "nobody")
