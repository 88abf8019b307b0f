"""Transactions: isolation, conflicts, what commits beside what, and the events at the end."""

from __future__ import annotations

import pytest

from hvsim.xenstore.rules.store import Store
from tests.xenstore.peer import Peer


@pytest.fixture
def dom0() -> Peer:
    peer = Peer(Store())
    for path in ("/a", "/a/x", "/a/y", "/b"):
        assert peer.ask("WRITE", path, "0") == "OK"
    return peer


def test_own_writes_are_seen_inside_only(dom0: Peer) -> None:
    tx = dom0.begin()
    dom0.ask("WRITE", "/t", "1", tx=tx)
    assert dom0.ask("READ", "/t") == "ENOENT"
    assert dom0.ask("READ", "/t", tx=tx) == "1"
    assert dom0.ask("DIRECTORY", "/", tx=tx).endswith(" t")
    assert dom0.end(tx, commit=False) == "OK"
    assert dom0.ask("READ", "/t") == "ENOENT"
    assert dom0.end(tx) == "ENOENT"


@pytest.mark.parametrize("first", ["READ", "WRITE"])
def test_outside_write_to_what_was_seen_is_a_conflict(dom0: Peer, first: str) -> None:
    tx = dom0.begin()
    dom0.ask(first, *(["/a/x", "1"] if first == "WRITE" else ["/a/x"]), tx=tx)
    dom0.ask("WRITE", "/a/x", "outside")
    dom0.ask("WRITE", "/k3", "in", tx=tx)
    assert dom0.end(tx) == "EAGAIN"
    assert dom0.ask("READ", "/k3") == "ENOENT"
    assert dom0.ask("READ", "/a/x") == "outside"


def test_outside_write_elsewhere_is_none(dom0: Peer) -> None:
    tx = dom0.begin()
    dom0.ask("READ", "/a/x", tx=tx)
    dom0.ask("WRITE", "/a/x", "in", tx=tx)
    dom0.ask("WRITE", "/a/y", "outside")
    dom0.ask("WRITE", "/b", "outside")
    assert dom0.end(tx) == "OK"
    assert dom0.ask("READ", "/a/x") == "in"


def test_different_children_of_one_directory_both_commit(dom0: Peer) -> None:
    """C xenstored gives the second one EAGAIN (INDEX, surprise 29); they do not touch each other,
    so ours does not."""
    one, two = dom0.begin(), dom0.begin()
    dom0.ask("WRITE", "/a/1", "x", tx=one)
    dom0.ask("WRITE", "/a/2", "y", tx=two)
    assert (dom0.end(one), dom0.end(two)) == ("OK", "OK")
    assert dom0.ask("DIRECTORY", "/a") == "x y 1 2"


def test_the_same_new_child_is_a_conflict(dom0: Peer) -> None:
    one, two = dom0.begin(), dom0.begin()
    dom0.ask("WRITE", "/a/1", "x", tx=one)
    dom0.ask("WRITE", "/a/1", "y", tx=two)
    assert (dom0.end(one), dom0.end(two)) == ("OK", "EAGAIN")


def test_a_list_that_was_read_conflicts_with_a_new_name(dom0: Peer) -> None:
    tx = dom0.begin()
    assert dom0.ask("DIRECTORY", "/a", tx=tx) == "x y"
    dom0.ask("WRITE", "/a/new", "1")
    assert dom0.end(tx) == "EAGAIN"


def test_absence_that_was_read_conflicts_with_creation(dom0: Peer) -> None:
    tx = dom0.begin()
    assert dom0.ask("READ", "/new", tx=tx) == "ENOENT"
    dom0.ask("WRITE", "/new", "1")
    dom0.ask("WRITE", "/b", "1", tx=tx)
    assert dom0.end(tx) == "EAGAIN"


def test_a_child_below_a_directory_removed_outside_conflicts(dom0: Peer) -> None:
    tx = dom0.begin()
    dom0.ask("WRITE", "/a/new", "1", tx=tx)
    dom0.ask("RM", "/a")
    assert dom0.end(tx) == "EAGAIN"
    assert dom0.ask("READ", "/a") == "ENOENT"


def test_a_removal_conflicts_with_a_new_child_below(dom0: Peer) -> None:
    tx = dom0.begin()
    dom0.ask("RM", "/a", tx=tx)
    dom0.ask("WRITE", "/a/late", "1")
    assert dom0.end(tx) == "EAGAIN"
    assert dom0.ask("READ", "/a/late") == "1"


def test_removed_and_made_again_has_lost_its_children(dom0: Peer) -> None:
    tx = dom0.begin()
    dom0.ask("RM", "/a", tx=tx)
    assert dom0.ask("DIRECTORY", "/a", tx=tx) == "ENOENT"
    dom0.ask("WRITE", "/a/z", "1", tx=tx)
    assert dom0.ask("DIRECTORY", "/a", tx=tx) == "z"
    assert dom0.end(tx) == "OK"
    assert dom0.ask("DIRECTORY", "/a") == "z"
    assert dom0.ask("READ", "/a/x") == "ENOENT"
    assert dom0.ask("CONTROL", "check") == "OK"


def test_events_come_once_for_each_node_in_order_at_the_end(dom0: Peer) -> None:
    watcher = Peer(dom0.connection.store)
    watcher.ask("WATCH", "/", "w")
    watcher.take_events()
    tx = dom0.begin()
    dom0.ask("WRITE", "/b", "1", tx=tx)
    dom0.ask("WRITE", "/n/deep", "1", tx=tx)
    dom0.ask("WRITE", "/b", "2", tx=tx)
    assert watcher.take_events() == []
    assert dom0.end(tx) == "OK"
    assert watcher.take_events() == [("/b", "w"), ("/n/deep", "w")]


def test_nested_and_unknown_transactions(dom0: Peer) -> None:
    tx = dom0.begin()
    assert dom0.ask("TRANSACTION_START", "", tx=tx) == "EBUSY"
    assert dom0.ask("READ", "/a", tx=99) == "ENOENT"
    assert dom0.end(0) == "ENOENT"
    assert dom0.ask("TRANSACTION_END", "X", tx=tx) == "EINVAL"
    assert dom0.end(tx) == "OK"


def test_transaction_of_another_connection_is_unknown(dom0: Peer) -> None:
    tx = dom0.begin()
    assert Peer(dom0.connection.store).ask("READ", "/a", tx=tx) == "ENOENT"
