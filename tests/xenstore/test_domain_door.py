"""Programs of a domain share its connection to the store through a socket.

The domain here is a thread with a vCPU loop and a connection to a lone store.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.abi import xs_wire
from hvsim.abi.errno import EAGAIN, EEXIST, EINVAL, ENOENT
from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus import door
from hvsim.domain.xenbus.door import StoreDoor
from hvsim.xs import requests
from hvsim.xs.blocking import SocketStore
from hvsim.xs.requests import StoreError
from tests.xenstore.lone import lone_store

HEADER = xs_wire.XSD_SOCKMSG.struct


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    """A door that is served."""
    with lone_store(tmp_path, trace=False) as store_path, SocketStore(store_path) as store:
        vcpu = VCPU()
        stop = os.eventfd(0)
        stopped: list[bool] = []
        vcpu.add_fd(stop, lambda: stopped.append(True))

        def poll() -> None:
            store.poll(0.0)

        vcpu.add_fd(store.transport.fileno(), poll)
        said: list[str] = []
        made = StoreDoor(store, vcpu, str(tmp_path / "door" / "socket"), said.append)

        def serve() -> None:
            while not stopped:
                vcpu.block(0.05)
                vcpu.dispatch()
                store.dispatch_events()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(tmp_path / "door" / "socket")
        finally:
            os.eventfd_write(stop, 1)
            thread.join(10.0)
            assert not thread.is_alive()
            made.close()
            vcpu.close()
            os.close(stop)
        assert said == []
        assert store.read_many(["/a/tx"]) == [None]


def refusal(call: object, *args: object) -> int | None:
    assert callable(call)
    with pytest.raises(StoreError) as caught:
        call(*args)
    return caught.value.errno


def test_clients_read_and_write(path: str) -> None:
    with SocketStore(path) as one, SocketStore(path) as two:
        one.write("/a/b", "1")
        assert two.read("/a/b") == "1"
        assert two.directory("/a") == ["b"]
        assert refusal(two.read, "/none") == ENOENT


def test_watches_are_a_clients_own(path: str) -> None:
    """Two clients may use the same token; each hears its own events, with its own token."""
    with SocketStore(path) as one, SocketStore(path) as two:
        heard: dict[str, list[str]] = {"one": [], "two": []}
        one.watch("/a", heard["one"].append)
        two.watch("/b", heard["two"].append)
        one.write("/b/x", "1")
        one.write("/a/y", "1")
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline and "/b/x" not in heard["two"]:
            two.poll(0.1)
        while time.monotonic() < deadline and "/a/y" not in heard["one"]:
            one.poll(0.1)
    assert heard == {"one": ["/a", "/a/y"], "two": ["/b", "/b/x"]}


def message(op: int, payload: bytes, tx: int = 0, req: int = 7) -> bytes:
    return HEADER.pack(op, req, tx, len(payload)) + payload


def ask(sock: socket.socket, data: bytes) -> tuple[int, int, bytes]:
    """Send a message; type, request id and payload of the answer, events skipped."""
    sock.sendall(data)
    while True:
        head = sock.recv(HEADER.size, socket.MSG_WAITALL)
        kind, req, _, length = HEADER.unpack(head)
        payload = sock.recv(length, socket.MSG_WAITALL) if length else b""
        if kind != xs_wire.XS_WATCH_EVENT:
            return kind, req, payload


@pytest.fixture
def raw(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30.0)
        sock.connect(path)
        yield sock


def error(number: int) -> bytes:
    return {ENOENT: b"ENOENT", EEXIST: b"EEXIST", EINVAL: b"EINVAL", EAGAIN: b"EAGAIN"}[
        number
    ] + b"\0"


def test_what_is_refused(raw: socket.socket, path: str) -> None:
    """Another client's transaction does not exist; red when the number is passed on unseen."""
    assert ask(raw, message(xs_wire.XS_WATCH, b"/a\0t\0")) == (xs_wire.XS_WATCH, 7, b"OK\0")
    again = ask(raw, message(xs_wire.XS_WATCH, b"/a\0t\0"))
    assert again == (xs_wire.XS_ERROR, 7, error(EEXIST))
    unknown = ask(raw, message(xs_wire.XS_UNWATCH, b"/a\0other\0"))
    assert unknown == (xs_wire.XS_ERROR, 7, error(ENOENT))
    assert ask(raw, message(xs_wire.XS_WATCH, b"/a"))[2] == error(EINVAL)
    with SocketStore(path) as other:
        tx = int(other.call(requests.transaction_start()))
        foreign = ask(raw, message(xs_wire.XS_WRITE, b"/a/tx\x001", tx=tx))
        assert foreign == (xs_wire.XS_ERROR, 7, error(ENOENT))
        other.write("/a/tx", "1", tx)  # aborted, as the client goes without an end


def test_one_that_announces_too_much_is_cut_off(raw: socket.socket, path: str) -> None:
    raw.sendall(HEADER.pack(xs_wire.XS_READ, 1, 0, xs_wire.XENSTORE_PAYLOAD_MAX + 1))
    assert raw.recv(1) == b""
    with SocketStore(path) as other:
        other.write("/x", "1")


def test_one_that_does_not_read_is_cut_off(raw: socket.socket, path: str) -> None:
    """Red without OUTPUT_MAX: the domain's memory would fill."""
    with SocketStore(path) as other:
        other.write("/big", "x" * 2000)
    asked = 0
    raw.setblocking(False)
    deadline = time.monotonic() + 30.0
    request = message(xs_wire.XS_READ, b"/big\0")
    while time.monotonic() < deadline:
        try:
            raw.send(request)
            asked += 1
        except BlockingIOError:
            time.sleep(0.002)
        except (BrokenPipeError, ConnectionResetError):
            break
    else:
        pytest.fail(f"it was served {asked} times without reading an answer")
    with SocketStore(path) as other:
        assert other.read("/big")


def test_more_than_so_many_are_not_taken(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_CLIENTS", 1)
    with SocketStore(path) as one:
        one.write("/a", "1")
        with socket.socket(socket.AF_UNIX) as second:
            second.settimeout(30.0)
            second.connect(path)
            assert second.recv(1) == b""
        assert one.read("/a") == "1"
