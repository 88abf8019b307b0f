"""A session by itself: what it may, what it has, and what becomes of it at its end."""

from __future__ import annotations

import pytest

from hvsim.abi.errno import EACCES
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store
from tests.xenstore.world import World


class Ear:
    """An outlet that writes down what it is told."""

    outstanding = 0

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.ends = 0

    def send_event(self, payload: bytes) -> None:
        self.heard.append(payload)

    def closed(self) -> None:
        self.ends += 1


@pytest.fixture
def store() -> Store:
    store = Store()
    store.tree.put(b"/open", b"", perm.parse([b"n0", b"r1"], lambda domid: True))
    store.tree.put(b"/open/own", b"", perm.parse([b"n1"], lambda domid: True))
    store.tree.put(b"/shut", b"", perm.DEFAULT)
    return store


def test_what_is_not_there_is_told_only_to_who_may_look(store: Store) -> None:
    """Red when ``find`` answers None below a node that may not be read."""
    dom0, guest = Session(store, 0, "s1"), Session(store, 1, "d1")
    assert dom0.find(b"/shut/none", perm.READ, None) is None
    assert guest.find(b"/open/none", perm.READ, None) is None
    assert guest.find(b"/open/own", perm.WRITE | perm.OWNER, None) is not None
    for path, right in (
        (b"/shut/none", perm.READ),
        (b"/open/none", perm.WRITE),
        (b"/", perm.WRITE),
    ):
        with pytest.raises(Refused) as refused:
            guest.find(path, right, None)
        assert refused.value.errno == EACCES


def test_the_end_gives_everything_back_once(store: Store) -> None:
    """Red when ``reset`` leaves a watch in the table, or its cost in the account."""
    guest, ear = Session(store, 1, "d1"), Ear()
    guest.outlet = ear
    before = str(store.tree.account(1))
    guest.add_watch(b"/open", 0, b"token")
    number = guest.begin(8)
    assert number
    store.fire(b"/open/own")
    assert ear.heard == [b"/open/own\0token\0"]
    assert str(store.tree.account(1)) != before
    guest.close()
    guest.close()
    assert ear.ends == 1
    assert str(store.tree.account(1)) == before
    assert len(store.watches) == 0
    assert guest not in store.sessions
    store.fire(b"/open/own")
    assert len(ear.heard) == 1


def test_what_was_open_with_a_former_daemon_is_doomed(store: Store) -> None:
    guest = Session(store, 1, "d1", durable=True)
    guest.adopt((3, 7))
    assert guest.doomed(3)
    assert not guest.doomed(4)
    assert [guest.begin(None) for _ in range(5)] == [1, 2, 4, 5, 6]
    assert store.tree.account(1).transactions == 7


def test_who_goes_at_the_same_moment_goes_in_order() -> None:
    """Of domains that were never introduced.  Red when ``update_domains`` walks through a set:
    16 and 8 stand before 3 there."""
    world = World()
    gone = (16, 3, 8)
    world.host.existing.update(gone)
    for domid in gone:
        assert world.dom0.ask("WRITE", f"/of/{domid}", "") == "OK"
        assert world.dom0.ask("SET_PERMS", f"/of/{domid}", f"n{domid}") == "OK"
    assert world.dom0.ask("WATCH", "/of", "t") == "OK"
    world.dom0.take_events()
    world.store.update_domains({})
    assert [path for path, _ in world.dom0.take_events()] == ["/of/3", "/of/8", "/of/16"]
