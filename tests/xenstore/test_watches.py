"""Which watch hears of what, and under which name."""

from __future__ import annotations

import pytest

from hvsim.xenstore.rules.store import Store
from tests.xenstore.peer import Peer
from tests.xenstore.test_recorded_guest import lay_out


@pytest.fixture
def dom0() -> Peer:
    return lay_out(Store())


def watching(store: Store, domid: int, *paths: str) -> Peer:
    peer = Peer(store, domid)
    for path in paths:
        assert peer.ask("WATCH", path, f"t:{path}") == "OK"
    assert peer.take_events() == [(path, f"t:{path}") for path in paths]
    return peer


def test_registration_is_an_event_behind_the_reply(dom0: Peer) -> None:
    watching(dom0.connection.store, 1, "data", "/no/such", "@foo", "/local/domain/0")


def test_relative_and_absolute_names(dom0: Peer) -> None:
    guest = watching(dom0.connection.store, 1, "data", "/local/domain/1/data")
    dom0.ask("WRITE", "/local/domain/1/data/k", "v")
    assert guest.take_events() == [
        ("data/k", "t:data"),
        ("/local/domain/1/data/k", "t:/local/domain/1/data"),
    ]


def test_only_at_and_below(dom0: Peer) -> None:
    watcher = watching(dom0.connection.store, 0, "/w/a")
    for path in ("/w/a", "/w/a/b/c", "/w/ab", "/w"):
        dom0.ask("WRITE", path, "1")
    assert [path for path, _ in watcher.take_events()] == ["/w/a", "/w/a/b/c"]


def test_removal_of_a_directory(dom0: Peer) -> None:
    """One event for the directory, and one for each watch on a node below (INDEX, 11)."""
    for path in ("/w/a/b", "/w/a/c/d"):
        dom0.ask("WRITE", path, "1")
    watcher = watching(dom0.connection.store, 0, "/w", "/w/a/c/d", "/w/a/none")
    dom0.ask("RM", "/w/a")
    assert watcher.take_events() == [("/w/a", "t:/w"), ("/w/a/c/d", "t:/w/a/c/d")]


def test_the_same_removal_in_a_transaction(dom0: Peer) -> None:
    for path in ("/w/a/b", "/w/a/c/d"):
        dom0.ask("WRITE", path, "1")
    watcher = watching(dom0.connection.store, 0, "/w", "/w/a/c/d")
    tx = dom0.begin()
    dom0.ask("RM", "/w/a", tx=tx)
    assert dom0.end(tx) == "OK"
    assert watcher.take_events() == [("/w/a", "t:/w"), ("/w/a/c/d", "t:/w/a/c/d")]


def test_nobody_hears_of_what_he_may_not_read(dom0: Peer) -> None:
    guest = watching(dom0.connection.store, 1, "/", "/libxl", "/local/domain/0")
    dom0.ask("WRITE", "/libxl/secret", "1")
    dom0.ask("WRITE", "/local/domain/0/secret", "1")
    assert guest.take_events() == []
    dom0.ask("WRITE", "/local/domain/1/name", "new")
    assert guest.take_events() == [("/local/domain/1/name", "t:/")]


def test_a_right_that_is_taken_away_is_still_told(dom0: Peer) -> None:
    guest = watching(dom0.connection.store, 1, "/s")
    dom0.ask("WRITE", "/s", "1")
    dom0.ask("SET_PERMS", "/s", "n0", "r1")
    dom0.ask("SET_PERMS", "/s", "n0")
    dom0.ask("WRITE", "/s", "2")
    assert guest.take_events() == [("/s", "t:/s")] * 2


def test_removal_is_told_to_who_could_read(dom0: Peer) -> None:
    guest = watching(dom0.connection.store, 1, "/local/domain/0/backend/vif/1/0")
    dom0.ask("RM", "/local/domain/0/backend/vif/1/0")
    assert [path for path, _ in guest.take_events()] == ["/local/domain/0/backend/vif/1/0"]


def test_removal_in_a_transaction_is_told_to_who_could_read(dom0: Peer) -> None:
    guest = watching(dom0.connection.store, 1, "/local/domain/0/backend/vif/1/0")
    tx = dom0.begin()
    dom0.ask("RM", "/local/domain/0/backend/vif/1/0", tx=tx)
    assert dom0.end(tx) == "OK"
    assert [path for path, _ in guest.take_events()] == ["/local/domain/0/backend/vif/1/0"]


def test_reset_watches_and_close(dom0: Peer) -> None:
    store = dom0.connection.store
    guest = watching(store, 1, "data", "name")
    tx = guest.begin()
    assert guest.ask("RESET_WATCHES", "") == "OK"
    assert guest.ask("READ", "name", tx=tx) == "ENOENT"
    dom0.ask("WRITE", "/local/domain/1/data", "1")
    assert guest.take_events() == []
    assert store.tree.account(1).watches == store.tree.account(1).transactions == 0
    watching(store, 1, "data").connection.close()
    assert len(store.watches) == 0


def test_a_peer_that_does_not_read_is_not_read_from(dom0: Peer) -> None:
    from hvsim.xenstore.daemon.connection import OUTPUT_HIGH, OUTPUT_MAX

    store = dom0.connection.store
    guest = watching(store, 1, "/local/domain/1/data")
    for number in range(40000):
        store.fire(b"/local/domain/1/data/%d" % (number % 30000))
    assert OUTPUT_HIGH <= len(guest.connection.out) <= OUTPUT_MAX + 100
    assert guest.connection.stalled
    before = len(guest.connection.out)
    request = bytes([2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]) + b"name\0"
    guest.connection.feed(request)
    assert len(guest.connection.out) == before
    assert guest.take() == []  # takes the backlog; the request is answered into the empty queue
    assert guest.take()[0][1] == b"fatB"
