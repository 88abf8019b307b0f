"""The edges of the store's rules, each by itself.

Each is red with the fault of its name in tests/mutants/store.py; no other test noticed these.
"""

from __future__ import annotations

import pytest

from hvsim.abi.errno import EACCES, EINVAL
from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.state import Half
from hvsim.xenstore.handshake.rules import FRONTEND_STEP, Pair, Rule, Writer, judge
from hvsim.xenstore.rules import paths, quota
from hvsim.xenstore.rules import permissions as perm
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.fairness import Governor
from hvsim.xenstore.rules.permissions import Entry
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store
from tests.xenstore.peer import Peer


def test_an_owner_that_has_gone_may_nothing() -> None:
    assert perm.access((Entry(3, 0),), 3) == perm.ALL
    assert perm.access((Entry(3, 0, ignored=True),), 3) == 0


def test_the_largest_number_of_a_domain() -> None:
    assert perm.parse([b"n65535"], lambda domid: True) == (Entry(65535, 0),)
    with pytest.raises(Refused) as refused:
        perm.parse([b"n65536"], lambda domid: True)
    assert refused.value.errno == EINVAL


def test_dom0_has_no_limits() -> None:
    limits = quota.Limits(nodes=1, memory=1)
    assert not quota.check_owner(quota.Account(), 0, 1000, 1 << 30, limits)
    with pytest.raises(Refused):
        quota.check_owner(quota.Account(), 1, 1000, 0, limits)


def test_a_watch_costs_its_path_its_token_and_more() -> None:
    store = Store()
    guest = Session(store, 1, "d1")
    before = store.tree.account(1).memory
    guest.add_watch(b"/a/b", 0, b"token")
    assert store.tree.account(1).memory - before == quota.WATCH_COST + len(b"/a/btoken")


def test_credit_is_not_saved_up_beyond_the_burst() -> None:
    now = [0.0]
    governor = Governor(lambda: now[0], burst=2, per_second=1.0)
    governor.conflict(1)
    now[0] = 1000.0
    assert [governor.conflict(1) for _ in range(3)] == [False, False, True]


def test_the_longest_path() -> None:
    home = paths.home(7)
    assert paths.canonical(b"/" + b"a" * 19, home, limit=20)
    with pytest.raises(Refused):
        paths.canonical(b"/" + b"a" * 20, home, limit=20)
    inside = b"/local/domain/7/" + b"a" * 20
    assert paths.canonical(inside, home, limit=20) == inside
    with pytest.raises(Refused):
        paths.canonical(inside + b"a", home, limit=20)


def test_every_right_that_is_needed_is_needed() -> None:
    store = Store()
    store.tree.put(b"/w", b"", (Entry(0, 0), Entry(1, perm.WRITE)))
    guest = Session(store, 1, "d1")
    assert guest.find(b"/w", perm.WRITE, None) is not None
    with pytest.raises(Refused) as refused:
        guest.find(b"/w", perm.WRITE | perm.OWNER, None)
    assert refused.value.errno == EACCES


def test_who_may_write_does_not_give_rights() -> None:
    store = Store()
    store.tree.put(b"/w", b"", (Entry(0, 0), Entry(1, perm.WRITE | perm.READ)))
    guest = Peer(store, 1)
    assert guest.ask("WRITE", "/w", "x") == "OK"
    assert guest.ask("SET_PERMS", "/w", "n0", "b1") == "EACCES"


def test_what_a_transaction_has_removed_is_not_listed_in_it() -> None:
    dom0 = Peer(Store())
    for path in ("/a/x", "/a/y"):
        dom0.ask("WRITE", path, "0")
    tx = dom0.begin()
    dom0.ask("RM", "/a/x", tx=tx)
    assert dom0.ask("DIRECTORY", "/a", tx=tx) == "y"
    assert dom0.ask("DIRECTORY", "/a") == "x y"


def test_what_is_below_nothing_is_not_removed() -> None:
    dom0 = Peer(Store())
    dom0.ask("WRITE", "/a", "0")
    assert dom0.ask("RM", "/a/none") == "OK"
    assert dom0.ask("RM", "/none/none") == "ENOENT"


def test_a_list_is_as_long_as_its_names() -> None:
    store = Store()
    for path in (b"/a", b"/a/b", b"/a/long"):
        store.tree.put(path, b"", perm.DEFAULT)
    assert store.tree.nodes[b"/a"].children.size == len(b"b\0long\0")
    store.tree.remove(b"/a/b")
    assert store.tree.nodes[b"/a"].children.size == len(b"long\0")


def test_a_frontend_takes_no_step_that_is_none() -> None:
    pair, writer = Pair("vif", "vif", 1, 0), Writer("domU1", 1, tool=False)

    def breaches(old: XenbusState, new: XenbusState) -> list[Rule]:
        found = judge(pair, Half.FRONTEND, writer, old, new, lambda key: True, None)
        return [breach.rule for breach in found]

    assert breaches(XenbusState.Initialised, XenbusState.Connected) == []
    assert breaches(XenbusState.Closed, XenbusState.Connected) == [FRONTEND_STEP]
    assert breaches(XenbusState.Connected, XenbusState.InitWait) == [FRONTEND_STEP]
