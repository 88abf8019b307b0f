"""The journal without processes: a store that is cut off at any byte, and what comes back."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvsim.wire.packing import pack
from hvsim.xenstore.daemon.ring import StoreRing
from hvsim.xenstore.journal import file as journal
from hvsim.xenstore.journal.file import MAGIC, frame, frames
from hvsim.xenstore.journal.keeper import Keeper
from hvsim.xenstore.journal.recorder import Recorder
from hvsim.xenstore.journal.recovery import JournalError, Recovery
from hvsim.xenstore.rules.records import DOMAINS, LIFE, PUT, STREAM, WATCH, Record
from hvsim.xenstore.rules.store import Domain, Store
from tests.xenstore.peer import Peer

State = tuple[object, ...]


def state(store: Store) -> State:
    """All that has to come back."""
    return (
        [
            (path, store.tree.nodes[path].value, store.tree.nodes[path].perms)
            for path in store.tree.walk(b"/")
        ],
        {domid: (domain.shutdown, domain.target) for domid, domain in store.domains.items()},
        dict(store.special),
        astuple(store.limits),
        {
            domid: (account.nodes, account.memory)
            for domid, account in store.tree.accounts.items()
            if account.nodes
        },
    )


def recovered(payloads: list[bytes]) -> Store:
    store = Store()
    Recovery(store).replay(payloads)
    return store


REQUESTS = st.one_of(
    st.tuples(
        st.just("WRITE"),
        st.sampled_from(["/a", "/a/b", "/a/b/c", "/d", "/d/e"]),
        st.text("xy", max_size=4),
    ),
    st.tuples(st.just("MKDIR"), st.sampled_from(["/m", "/a/m", "/a/b"])),
    st.tuples(st.just("RM"), st.sampled_from(["/a", "/a/b", "/d", "/m"])),
    st.tuples(
        st.just("SET_PERMS"),
        st.sampled_from(["/a", "/d", "@releaseDomain"]),
        st.sampled_from(["n0", "n1", "b2"]),
        st.sampled_from(["r1", "b2", "w7"]),
    ),
    st.tuples(st.just("SET_TARGET"), st.just("1"), st.just("2")),
    st.tuples(
        st.just("CONTROL"),
        st.just("quota"),
        st.just("set"),
        st.just("watches"),
        st.sampled_from(["5", "77"]),
    ),
    st.just(("transaction",)),
)


@settings(max_examples=40, deadline=None)
@given(requests=st.lists(REQUESTS, max_size=12))
def test_cut_at_every_byte(requests: list[tuple[str, ...]]) -> None:
    """However much of the journal was written, the store is one that it has been: that after the
    last frame that is whole."""
    store = Store()
    for domid in (1, 2):
        store.domains[domid] = Domain(domid)
    written = bytearray(MAGIC)
    history: list[tuple[int, State]] = []

    def take(payload: bytes) -> None:
        written.extend(frame(payload))
        history.append((len(written), state(store)))

    recorder = Recorder(store, take)
    take(recorder.snapshot())
    peer = Peer(store)
    for request in requests:
        if request == ("transaction",):
            tx = peer.begin()
            peer.ask("RM", "/d", tx=tx)
            peer.ask("WRITE", "/a/b/tx", "1", tx=tx)
            peer.end(tx)
        else:
            peer.ask(*request)
        recorder.commit()
    for cut in range(len(written) + 1):
        payloads = list(frames(bytes(written[:cut])))
        whole = [was for end, was in history if end <= cut]
        assert len(payloads) == len(whole)
        if whole:
            assert state(recovered(payloads)) == whole[-1]


def test_a_flipped_bit_ends_the_journal_there() -> None:
    data = MAGIC + frame(b"one") + frame(b"two") + frame(b"three")
    broken = bytearray(data)
    broken[len(MAGIC) + len(frame(b"one")) + 9] ^= 1
    assert list(frames(data)) == [b"one", b"two", b"three"]
    assert list(frames(bytes(broken))) == [b"one"]
    assert list(frames(b"another" + data)) == []


def test_generations_never_come_twice() -> None:
    """A reader of DIRECTORY_PART in the middle of a list must see that it changed."""
    store = Store()
    peer = Peer(store)
    for number in range(20):
        peer.ask("WRITE", f"/x/{number}", "")
    former = {node.children.generation for node in store.tree.nodes.values()}
    again = recovered([Recorder(store, lambda payload: None).snapshot()])
    assert not former & {node.children.generation for node in again.tree.nodes.values()}


def test_a_ring_comes_back_with_watches_output_and_doomed_transactions() -> None:
    store = Store()
    payloads: list[bytes] = []
    recorder = Recorder(store, payloads.append)
    payloads.append(recorder.snapshot())
    peer = _ring(store, 0, recorder)
    peer.ask("WATCH", "/w", "token")
    tx = peer.begin()
    peer.ask("WRITE", "/w/in", "1", tx=tx)
    recorder.commit()
    socket = Peer(store)
    socket.ask("WRITE", "/w/x", "1")
    recorder.commit()

    after = Store()
    recovery = Recovery(after)
    recovery.replay(payloads)
    peer = _ring(after, 0)
    recovery.attach(peer.connection.session)
    back = StoreRing(memoryview(bytearray(4096)), peer.connection, False)
    assert back.resume(recovery.streams[0])
    assert ("/w/x", "token") in peer.take_events()  # queued before, told after
    assert peer.ask("READ", "/w/in", tx=tx) == "EAGAIN"
    assert peer.end(tx) == "EAGAIN"
    socket = Peer(after)
    socket.ask("WRITE", "/w/y", "1")
    assert peer.take_events() == [("/w/y", "token")]
    assert socket.ask("CONTROL", "check") == "OK"


def _ring(store: Store, domid: int, recorder: Recorder | None = None) -> Peer:
    """A peer over a ring of *domid*, which outlives the store."""
    peer = Peer(store, domid, durable=True)
    StoreRing(memoryview(bytearray(4096)), peer.connection, recorder=recorder)
    return peer


def _after_the_kill(payloads: list[bytes], domid: int) -> tuple[Peer, Peer]:
    """The store that comes of *payloads*: dom0's socket, and the ring of *domid*."""
    store = Store()
    recovery = Recovery(store)
    recovery.replay(payloads)
    ring = _ring(store, domid)
    recovery.attach(ring.connection.session)
    return Peer(store), ring


def test_a_watch_that_was_ended_stays_ended() -> None:
    """UNWATCH over a ring, then the store dies.

    Seen red with UNWATCH left out of the journal, and with RESET_WATCHES.
    """
    store = Store()
    store.domains[1] = Domain(1)
    payloads: list[bytes] = []
    recorder = Recorder(store, payloads.append)
    payloads.append(recorder.snapshot())
    guest = _ring(store, 1, recorder)
    for token in ("ended", "kept"):
        assert guest.ask("WATCH", "@releaseDomain", token) == "OK"
    recorder.commit()
    assert guest.ask("UNWATCH", "@releaseDomain", "ended") == "OK"
    recorder.commit()
    _, ring = _after_the_kill(payloads, 1)
    assert [token for _, token in ring.connection.session.watches] == [b"kept"]
    assert guest.ask("RESET_WATCHES", "") == "OK"
    recorder.commit()
    dom0, ring = _after_the_kill(payloads, 1)
    assert dom0.ask("SET_PERMS", "@releaseDomain", "n0", "r1") == "OK"
    dom0.connection.store.fire_special(b"@releaseDomain")
    assert ring.take_events() == []
    assert dom0.ask("CONTROL", "check") == "OK"


def test_the_next_domain_of_a_number_has_no_watch_of_the_last(tmp_path: Path) -> None:
    """A domain goes, the store dies, and a new domain gets its number.

    Seen red when ``Recovery`` keeps the watches of domains that are not in a record of domains,
    and when a connection that closes does not end its watches.
    """
    store = Store()
    store.domains[1] = Domain(1)
    payloads: list[bytes] = []
    recorder = Recorder(store, payloads.append)
    payloads.append(recorder.snapshot())
    guest = _ring(store, 1, recorder)
    assert guest.ask("WATCH", "/", "old") == "OK"
    recorder.commit()
    before = list(payloads)
    store.update_domains({})
    recorder.commit()
    store.domains[1] = Domain(1)
    store.administration += 1
    recorder.commit()
    dom0, ring = _after_the_kill(payloads, 1)
    dom0.ask("WRITE", "/a", "")
    assert ring.take_events() == []
    # The same when nobody was left to end the watch: the domain was not there at the next start.
    without = Recovery(Store())
    without.replay([*before, msgpack.packb([(DOMAINS, [], [0], [], {})])])
    assert without.watches == {}
    assert without.streams == {}


def test_it_stays_small(tmp_path: Path) -> None:
    """A million bytes written to one node leave a file that is a small multiple of the store."""
    store = Store()
    path = str(tmp_path / "journal")
    keeper = Keeper(store, path, False, pytest.fail)
    keeper.begin()
    peer = Peer(store)
    largest = 0
    for number in range(3000):
        peer.ask("WRITE", "/a", f"{number:0>2000}")
        keeper.commit()
        largest = max(largest, os.path.getsize(path))
    keeper.close()
    assert largest < 2 * journal.SLACK
    assert state(recovered(journal.read(path))) == state(store)
    assert os.listdir(tmp_path) == ["journal"]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file grows beyond *size*: the kernel's limit stands for a full disk, which also takes a
    part and then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_once_and_made_good(tmp_path: Path) -> None:
    """The store goes on, and the next good write has everything.

    Seen red when ``Keeper`` does not rewrite what it is behind with.
    """
    store = Store()
    path = str(tmp_path / "journal")
    said: list[str] = []
    keeper = Keeper(store, path, False, said.append)
    keeper.begin()
    peer = Peer(store)
    with room_for(os.path.getsize(path)):
        for number in range(3):
            peer.ask("WRITE", f"/n{number}", "1")
            keeper.commit()
    assert len(said) == 1
    assert "would not survive" in said[0]
    peer.ask("WRITE", "/last", "1")
    keeper.commit()
    keeper.close()
    assert state(recovered(journal.read(path))) == state(store)


def test_half_a_frame_does_not_hide_what_follows(tmp_path: Path) -> None:
    """The disk takes half a frame and no more: what is written later can be read.

    Seen red without the ``ftruncate`` in ``Journal.append``.
    """
    path = str(tmp_path / "journal")
    kept = journal.Journal(path, b"snapshot")
    kept.append(b"before")
    with room_for(kept.size + 20), pytest.raises(OSError, match="File too large"):
        kept.append(b"t" * 100)
    assert os.path.getsize(path) == kept.size
    kept.append(b"after")
    kept.close()
    assert journal.read(path) == [b"snapshot", b"before", b"after"]


def test_a_journal_of_another_kind_is_refused() -> None:
    with pytest.raises(JournalError):
        recovered([b"\x91\x91\x63"])
    with pytest.raises(JournalError):
        recovered([b"\xc1"])


@pytest.mark.parametrize(
    "record",
    [
        (PUT, b"/a", "text", [(0, 0)]),
        (PUT, b"/a", b"1", [(0, "r")]),
        (WATCH, 1, b"/a", "0", b"t"),
        (STREAM, 1, 0, 0, b"", 0, 0, b"", ["1"]),
        (LIFE, "1"),
    ],
)
def test_a_record_is_checked_where_it_is_read(record: Record) -> None:
    """Red where ``Recovery._apply`` takes the members as they come: the wrong ones get into the
    store."""
    with pytest.raises(JournalError):
        recovered([pack([record])])


def test_without_a_journal_nothing_is_collected() -> None:
    store = Store()
    keeper = Keeper(store, "", False, pytest.fail)
    keeper.begin()
    Peer(store).connection.feed(b"")
    assert keeper.recorder is None
    assert store.tree.log is None
