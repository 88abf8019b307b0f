"""The ring page: both halves against each other, every index wrap, and hostile domains."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from hvsim.abi import xs_wire
from hvsim.domain.xenbus.ring_transport import RingTransport
from hvsim.xenstore.daemon.connection import Connection
from hvsim.xenstore.daemon.ring import FEATURES, StoreRing
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store
from hvsim.xs import requests
from hvsim.xs.client import (
    StoreClient,
    StoreDisconnected,
    StoreError,
    StoreNotFound,
    Transaction,
)

WORD = struct.Struct("<I")


class Board:
    """One page between a domain and a store, without processes: the store runs while the domain
    waits.  ``vcpu`` and event channels of the domain in one."""

    def __init__(self, store: Store, start: int = 0, domid: int = 0) -> None:
        self.page = memoryview(bytearray(4096))
        for offset in (xs_wire.REQ_CONS, xs_wire.REQ_PROD, xs_wire.RSP_CONS, xs_wire.RSP_PROD):
            self.put(offset, start)
        self.connection = Connection(Session(store, domid, "d"))
        self.ring = StoreRing(self.page, self.connection)
        self.clock = 0.0
        self.serving = True
        self.pending = False
        self.handler: Callable[[], None] | None = None
        self.transport = RingTransport(self.page, 1, self, self, timeout=5.0)
        self.client = StoreClient(self.transport)

    def put(self, offset: int, value: int) -> None:
        WORD.pack_into(self.page, offset, value & 0xFFFFFFFF)

    def get(self, offset: int) -> int:
        return int(WORD.unpack_from(self.page, offset)[0])

    def notify(self, port: int) -> None:
        assert port == 1

    def set_handler(self, port: int, handler: Callable[[], None] | None) -> None:
        self.handler = handler

    def set_pending(self, port: int) -> None:
        self.pending = True

    def now(self) -> float:
        return self.clock

    def block(self, timeout: float | None = None, *, port: int | None = None) -> bool:
        assert port == 1
        if self.serving and self.ring.pump()[0]:
            return True
        self.clock += timeout or 0.0
        return False

    def loop(self) -> None:
        """The domain's loop, until nothing is left to do."""
        for _ in range(100):
            self.ring.pump()
            self.pending = False
            assert self.handler is not None
            self.handler()
            if not self.pending and self.get(xs_wire.RSP_CONS) == self.get(xs_wire.RSP_PROD):
                return
        raise AssertionError("never quiet")


@pytest.mark.parametrize("start", [0, 1000, 0xFFFFFFF0, 0xFFFFFC00 + 7])
def test_verbs_over_the_ring_with_wrapping_indices(start: int) -> None:
    board = Board(Store(), start)
    client = board.client
    assert board.get(xs_wire.SERVER_FEATURES) == FEATURES
    for length in (0, 1, 900, 1007, 1008, 1009, 2040, 4000):
        client.write("/value", "v" * length)
        assert client.read("/value") == "v" * length
    with pytest.raises(StoreNotFound):
        client.read("/none")
    client.write("rel/a", b"\x00\xff")
    assert client.read_bytes("/local/domain/0/rel/a") == b"\x00\xff"
    assert client.directory("rel") == ["a"]
    assert not client.exists("/none")
    results = client.pipeline([requests.read(path) for path in ["/value", "/none"] * 40])
    assert [isinstance(result, StoreError) for result in results] == [False, True] * 40


def test_a_long_directory_comes_in_parts() -> None:
    board = Board(Store())
    names = [f"a-rather-long-name-for-a-node-{number}" for number in range(400)]
    board.client.pipeline_all([requests.write(f"/d/{name}", "") for name in names])
    assert board.client.directory("/d") == names


def test_transaction_retries_and_gives_up() -> None:
    board = Board(Store())
    other = Board(board.connection.store).client
    client = board.client
    rounds: list[int] = []

    def body(tx: int) -> str:
        client.read("rel", tx) if rounds else client.exists("rel", tx)
        rounds.append(1)
        if len(rounds) < 3:
            other.write("rel", str(len(rounds)))
        client.write("mine", "x", tx)
        return "done"

    def meddle(tx: Transaction) -> None:
        tx.write("a", "1")
        other.write("a", "2")

    def fail(tx: Transaction) -> None:
        raise KeyError(tx)

    assert client.transaction(body, "test") == "done"
    assert len(rounds) == 3
    with pytest.raises(StoreError, match="never"):
        client.transaction(meddle, "never")
    with pytest.raises(KeyError):
        client.transaction(fail, "a failing body")
    assert board.connection.session.transactions == {}


def test_events_wait_for_the_loop_and_are_never_reentered() -> None:
    board = Board(Store())
    client = board.client
    depth = 0
    seen = []

    def callback(path: str) -> None:
        nonlocal depth
        assert depth == 0
        depth += 1
        seen.append(path)
        if len(seen) < 4:
            client.write(f"w/{len(seen)}", "x")  # brings an event while a callback runs
        depth -= 1

    watch = client.watch("w", callback)
    assert seen == []
    board.loop()
    assert seen == ["w", "w/1", "w/2", "w/3"]
    client.write("w", "again")
    client.unwatch(watch)
    board.loop()
    assert len(seen) == 4


def test_a_store_that_does_not_answer_is_named() -> None:
    board = Board(Store())
    board.serving = False
    with pytest.raises(TimeoutError, match="READ /slow"):
        board.client.read("/slow")
    board.serving = True
    board.client.write("/slow", "1")  # the late answer is not taken for this one
    assert board.client.read("/slow") == "1"


def test_client_waits_for_a_reconnecting_store() -> None:
    board = Board(Store())
    board.serving = False
    board.put(xs_wire.CONNECTION, xs_wire.XENSTORE_RECONNECT)
    with pytest.raises(TimeoutError):
        board.client.read("/")
    assert board.get(xs_wire.REQ_PROD) == 0


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (xs_wire.REQ_PROD, 1025),
        (xs_wire.REQ_PROD, 0xFFFFFFFF),
        (xs_wire.REQ_CONS, 1),
        (xs_wire.REQ_CONS, 0x80000000),
    ],
)
def test_request_index_out_of_range_ends_this_connection_only(offset: int, value: int) -> None:
    store = Store()
    bad, good = Board(store), Board(store)
    good.client.write("/a", "1")
    bad.put(offset, value)
    bad.ring.pump()
    assert "index out of range" in bad.connection.broken
    assert bad.get(xs_wire.ERROR) == xs_wire.XENSTORE_ERROR_RINGIDX
    with pytest.raises(StoreDisconnected):
        bad.client.read("/a")
    assert good.client.read("/a") == "1"


def test_reply_index_out_of_range() -> None:
    store = Store()
    board = Board(store)
    board.put(xs_wire.RSP_CONS, 5)
    board.connection.send_event(b"/x\0t\0")
    board.ring.pump()
    assert "index out of range" in board.connection.broken


def test_a_message_over_the_limit_is_a_protocol_error() -> None:
    board = Board(Store())
    board.page[0:16] = xs_wire.pack_header(xs_wire.XS_READ, 1, 0, 4097)
    board.put(xs_wire.REQ_PROD, 16)
    board.ring.pump()
    assert board.connection.broken
    assert board.get(xs_wire.ERROR) == xs_wire.XENSTORE_ERROR_PROTO


def test_a_domain_that_takes_no_answers_is_not_served_further() -> None:
    store = Store()
    board = Board(store)
    request = xs_wire.pack_header(xs_wire.XS_DIRECTORY, 1, 0, 2) + b"/\0"
    fed = 0
    while fed < 10000:
        used = board.get(xs_wire.REQ_PROD) - board.get(xs_wire.REQ_CONS)
        if used + len(request) > 1024:
            break
        start = board.get(xs_wire.REQ_PROD)
        for index, byte in enumerate(request):
            board.page[xs_wire.REQ + (start + index) % 1024] = byte
        board.put(xs_wire.REQ_PROD, start + len(request))
        board.ring.pump()
        fed += 1
    assert fed < 10000
    assert len(board.connection.out) < 70000
