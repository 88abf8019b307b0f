"""One test for each public advisory about the rights in the store: the shape of its attack, and the
rule that holds against it.

"Red when" names the change of the code under which the test was seen to fail.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.xenstore.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    assert made.sound()


def test_xsa_115_no_event_names_what_may_not_be_read(world: World) -> None:
    """Rule: a watcher hears of a node only if it may read it or its parent.

    Red when ``Store._may_hear`` returns True.
    """
    guest, other = world.guest(1), world.guest(2)
    assert guest.ask("WATCH", "/", "all") == "OK"
    assert guest.ask("WATCH", "@introduceDomain", "i") == "OK"
    guest.take_events()
    assert other.ask("WRITE", "data/secret", "x") == "OK"
    assert world.dom0.ask("WRITE", "/vm/secret", "x") == "OK"
    world.dom0.ask("RM", "/vm")
    tx = other.begin()
    other.ask("WRITE", "data/more", "x", tx=tx)
    assert other.end(tx) == "OK"
    world.guest(3)
    assert guest.take_events() == []
    assert guest.ask("WRITE", "data/own", "x") == "OK"
    assert guest.take_events() == [("/local/domain/1/data/own", "all")]


def test_xsa_233_a_stub_domain_and_its_target_go_in_any_order(world: World) -> None:
    """Rule: SET_TARGET gives rights only while both live; neither end harms the store.

    Red when ``Store._forget`` leaves the target of the others (the new domain 5 is open to 6).
    """
    for first in (5, 6):
        target, stub = world.guest(5), world.guest(6)
        assert world.dom0.ask("SET_TARGET", "6", "5") == "OK"
        assert stub.ask("WRITE", "/local/domain/5/data/x", "1") == "OK"
        world.end(target if first == 5 else stub)
        if first == 5:
            again = world.guest(5)
            assert stub.ask("WRITE", "/local/domain/5/data/x", "1") == "EACCES"
            world.end(again)
            world.end(stub)
        else:
            world.end(target)
        assert world.dom0.ask("SET_TARGET", "6", "5") == "ENOENT"


def test_xsa_322_rights_do_not_pass_to_the_next_owner_of_a_domid(world: World) -> None:
    """Rule: a new domain 1 has none of the rights that the old one had, on nodes and on the
    special nodes; what the old one owned is gone.

    Red when ``Tree.forget_domain`` does nothing.
    """
    old = world.guest(1)
    world.dom0.ask("WRITE", "/shared", "secret")
    assert world.dom0.ask("SET_PERMS", "/shared", "n0", "b1") == "OK"
    assert world.dom0.ask("SET_PERMS", "@releaseDomain", "n0", "r1") == "OK"
    assert old.ask("READ", "/shared") == "secret"
    world.end(old)
    new = world.guest(1)
    assert new.ask("READ", "/shared") == "EACCES"
    assert new.ask("WRITE", "/shared", "x") == "EACCES"
    assert new.ask("WATCH", "@releaseDomain", "t") == "OK"
    new.take_events()
    world.end(world.guest(9))
    assert new.take_events() == []


@pytest.mark.parametrize("how", ["right", "owner", "new node"])
def test_xsa_322_a_commit_gives_nothing_to_a_domain_that_went_meanwhile(
    world: World, how: str
) -> None:
    """Rule: a transaction that was to open something to domain N ends in EAGAIN when N goes before
    its end, and the next domain N has nothing of it.

    Red when ``Transaction.forget_domain`` does nothing, and when it looks at owners only.
    """
    old = world.guest(1)
    world.dom0.ask("WRITE", "/shared", "secret")
    tx = world.dom0.begin()
    path = "/shared"
    if how == "new node":
        path = "/made"
        world.dom0.ask("WRITE", path, "secret", tx=tx)
    perms = ("n1",) if how == "owner" else ("n0", "b1")
    assert world.dom0.ask("SET_PERMS", path, *perms, tx=tx) == "OK"
    other = world.dom0.begin()
    world.dom0.ask("WRITE", "/elsewhere", "1", tx=other)
    world.end(old)
    assert world.dom0.end(tx) == "EAGAIN"
    assert world.dom0.end(other) == "OK", "it gives nothing to anybody"
    new = world.guest(1)
    assert new.ask("READ", path) in ("EACCES", "ENOENT")
    assert world.sound()


def test_xsa_322_a_right_given_before_the_domain_existed_is_none(world: World) -> None:
    """Rule: naming a domid that nobody has gives nothing to who gets it later.

    Red when ``permissions.parse`` marks no entry.
    """
    guest = world.guest(1)
    assert guest.ask("WRITE", "data/open", "secret") == "OK"
    assert guest.ask("SET_PERMS", "data/open", "n1", "r2") == "OK"
    assert world.guest(2).ask("READ", "/local/domain/1/data/open") == "EACCES"
    assert guest.ask("SET_PERMS", "data/open", "n1", "r2") == "OK"
    assert world.store.tree.nodes[b"/local/domain/1/data/open"].perms[1].ignored is False


def test_xsa_325_a_misbehaving_client_does_not_look_dead(world: World) -> None:
    """Rule: who breaks its ring is cut off and stays introduced; ``@releaseDomain`` is for domains
    that the hypervisor says are gone.

    Red when ``Connection.fail`` releases the domain.
    """
    guest = world.guest(1)
    assert world.dom0.ask("WATCH", "@releaseDomain", "r") == "OK"
    world.dom0.take_events()
    guest.connection.feed(b"\xff" * 16)
    assert guest.connection.broken
    assert world.dom0.take_events() == []
    assert world.dom0.ask("IS_DOMAIN_INTRODUCED", "1") == "T"
    assert world.dom0.ask("READ", "/local/domain/1/name") == "guest"
    world.end(guest)
    assert world.dom0.take_events() == [("@releaseDomain", "r")]


def test_xsa_352_a_guest_cannot_give_a_node_away(world: World) -> None:
    """Rule: a guest keeps what it owns, and its quota; dom0 may move a node, and its cost with it.

    Red when ``set_perms`` does not compare the owners.
    """
    guest, other = world.guest(1), world.guest(2)
    assert guest.ask("WRITE", "data/x", "v") == "OK"
    before = world.store.tree.account(1).nodes
    for owner in ("n2", "n0"):
        assert guest.ask("SET_PERMS", "data/x", owner, "b1") == "EPERM"
    tx = guest.begin()
    assert guest.ask("SET_PERMS", "data/x", "n2", tx=tx) == "EPERM"
    assert guest.end(tx) == "OK"
    assert world.store.tree.account(1).nodes == before
    assert world.dom0.ask("SET_PERMS", "/local/domain/1/data/x", "n2") == "OK"
    assert world.store.tree.account(1).nodes == before - 1
    assert other.ask("READ", "/local/domain/1/data/x") == "v"


def test_xsa_353_the_root_has_permissions_too(world: World) -> None:
    """Rule: a guest may not write, remove, list or take over ``/``.

    Red when ``find`` lets the root pass.
    """
    guest = world.guest(1)
    assert guest.ask("WRITE", "/", "x") == "EACCES"
    assert guest.ask("SET_PERMS", "/", "n1") == "EACCES"
    assert guest.ask("RM", "/") == "EACCES"
    assert guest.ask("DIRECTORY", "/") == "EACCES"
    assert guest.ask("GET_PERMS", "/") == "EACCES"
    assert guest.ask("MKDIR", "/new") == "EACCES"
    assert world.dom0.ask("RM", "/") == "EINVAL"
    assert world.dom0.ask("GET_PERMS", "/") == "n0"


def test_xsa_417_a_gone_domain_owns_nothing_and_may_nothing(world: World) -> None:
    """Rule: nodes of a gone domain below another's tree go as well; no later domain of that number
    may touch what is left.

    Red when ``Store._forget`` does not ask for what the domain owned.
    """
    host, old = world.guest(1), world.guest(2)
    assert host.ask("WRITE", "data/box", "") == "OK"
    assert host.ask("SET_PERMS", "data/box", "n1", "b2") == "OK"
    assert old.ask("WRITE", "/local/domain/1/data/box/mine", "x") == "OK"
    world.end(old)
    assert host.ask("READ", "data/box/mine") == "ENOENT"
    new = world.guest(2)
    assert new.ask("WRITE", "/local/domain/1/data/box/mine", "x") == "EACCES"
    assert host.ask("DIRECTORY", "data/box") == ""


def test_xsa_419_two_guests_together_do_not_leave_nodes_to_dom0(world: World) -> None:
    """Rule: what a dying domain made in another's tree is removed, not given to dom0; the number of
    nodes does not grow with the number of lives.

    Red when a gone domain's nodes become dom0's (``owned_by`` finds none).
    """
    keeper = world.guest(1)
    assert keeper.ask("WRITE", "data/box", "") == "OK"
    count = None
    for _ in range(4):
        writer = world.guest(2)
        assert keeper.ask("SET_PERMS", "data/box", "n1", "b2") == "OK"
        for number in range(100):
            path = f"/local/domain/1/data/box/{number}"
            assert writer.ask("WRITE", path, "x") == "OK"
        world.end(writer)
        assert world.dom0.ask("RM", "/local/domain/2") in ("OK", "ENOENT")
        assert count in (None, len(world.store.tree.nodes))
        count = len(world.store.tree.nodes)
    assert keeper.ask("DIRECTORY", "data/box") == ""


@pytest.mark.parametrize(
    "path",
    [
        "/local/domain/",
        "/local/domain/1/",
        "/",
        "//",
        "/local//domain",
        "local/domain/",
        "@",
        "",
        "/local/domain/99999999999/x/",
        "/local/domain/-1/",
    ],
)
@pytest.mark.parametrize("name", ["READ", "WRITE", "MKDIR", "RM", "SET_PERMS", "WATCH", "UNWATCH"])
def test_xsa_481_an_odd_path_is_an_answer(world: World, path: str, name: str) -> None:
    """Rule: every path that is no path is an errno of the protocol, never 0 and never the end.

    Red when ``_VALID`` takes a trailing slash (``/local/domain/`` is answered OK or ENOENT).
    """
    guest = world.guest(1)
    more = {"SET_PERMS": ["n1"], "WATCH": ["t"], "UNWATCH": ["t"]}.get(name, [])
    answer = guest.ask(name, path, *more)
    root = path == "/"
    if root:
        assert answer == {"WATCH": "OK", "UNWATCH": "ENOENT"}.get(name, "EACCES")
    elif path == "@" and name in ("WATCH", "UNWATCH"):
        assert answer in ("OK", "ENOENT", "EINVAL")
    else:
        assert answer == "EINVAL"
    assert guest.ask("READ", "name") == "guest"
