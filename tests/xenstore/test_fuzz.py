"""Malformed frames: whatever comes, the store answers or ends that one connection."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.abi import xs_wire
from hvsim.xenstore.rules.store import Store
from tests.xenstore.fuzz import attack
from tests.xenstore.lone import lone_store
from tests.xenstore.peer import Peer

FRAGMENTS = st.sampled_from(
    [
        b"",
        b"\0",
        b"/",
        b"/a\0",
        b"a/b\0",
        b"@releaseDomain\0",
        b"n0\0",
        b"x",
        b"T\0",
        b"\xff\0",
        b"1\0",
        b"99999999999999999999999\0",
        b"-1\0",
        b"//\0",
        b"quota\0",
        b"set\0",
        b"help\0",
    ]
)
FRAME = st.tuples(
    st.one_of(st.integers(0, 24), st.integers(0, 2**32 - 1)),
    st.sampled_from([0, 1, 2, 2**32 - 1]),
    st.lists(FRAGMENTS, max_size=5).map(b"".join),
    st.integers(-2, 2) | st.just(5000),
)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([0, 1]), st.lists(FRAME, max_size=12), st.integers(1, 40))
def test_any_bytes(domid: int, frames: list[tuple[int, int, bytes, int]], cut: int) -> None:
    store = Store()
    good = Peer(store)
    assert good.ask("WRITE", "/good", "1") == "OK"
    bad = Peer(store, domid)
    data = b"".join(
        xs_wire.pack_header(type, 7, tx, max(0, len(payload) + wrong)) + payload
        for type, tx, payload, wrong in frames
    )
    for start in range(0, len(data), cut):
        bad.connection.feed(data[start : start + cut])
    bad.connection.sent(len(bad.connection.out))
    assert good.ask("CONTROL", "check") == "OK"
    bad.connection.close()
    for domain in (0, 1):
        account = store.tree.account(domain)
        assert account.watches == account.transactions == 0
    assert len(store.watches) == 0


def test_split_at_every_byte_is_the_same_request() -> None:
    peer = Peer(Store())
    data = xs_wire.pack_header(xs_wire.XS_WRITE, 7, 0, 4) + b"/a\0v"
    for cut in range(len(data)):
        peer.connection.feed(data[:cut])
        assert peer.take() == []
        peer.connection.feed(data[cut:])
        assert peer.take() == [(xs_wire.XS_WRITE, b"OK\0")]


def test_thousands_of_frames_at_a_process(tmp_path: Path) -> None:
    with lone_store(tmp_path, trace=False) as path:
        attack(path, 0, 10_000)
