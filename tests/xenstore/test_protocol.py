"""Corners of the protocol: lists in parts, special nodes with owners, CONTROL, quotas of a
transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.abi import xs_wire
from hvsim.xenstore.rules.quota import Limits
from tests.xenstore.peer import Peer
from tests.xenstore.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    assert made.sound()


def part(peer: Peer, path: str, offset: int, tx: int = 0) -> tuple[int, list[str], bool]:
    """DIRECTORY_PART: generation, names, whether these were the last."""
    payload = path.encode() + b"\0%d\0" % offset
    reply, answer = peer.raw(xs_wire.XS_DIRECTORY_PART, payload, tx)
    assert reply == xs_wire.XS_DIRECTORY_PART
    generation, names = answer.split(b"\0", 1)
    last = names.endswith(b"\0\0") or names == b"\0"
    return int(generation), [name.decode() for name in names.split(b"\0") if name], last


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "in-a-transaction"])
def test_a_list_that_changes_between_two_parts_shows_it(world: World, inside: bool) -> None:
    """A client begins anew when the generation is another.  Red when a transaction answers with
    the generation of the store."""
    for number in range(600):
        world.dom0.ask("WRITE", f"/many/child-{number:04}", "")
    tx = world.dom0.begin() if inside else 0
    generation, names, last = part(world.dom0, "/many", 0, tx)
    assert names[0] == "child-0000"
    assert not last
    offset = sum(len(name) + 1 for name in names)
    again, rest, last = part(world.dom0, "/many", offset, tx)
    assert again == generation
    assert last
    assert names + rest == [f"child-{number:04}" for number in range(600)]
    assert part(world.dom0, "/many", 10**6, tx) == (generation, [], True)
    world.dom0.ask("RM", "/many/child-0000", tx=tx)
    later = part(world.dom0, "/many", offset, tx)[0]
    assert later > generation
    if inside:
        world.dom0.end(tx, False)


def test_a_special_node_has_an_owner(world: World) -> None:
    """dom0 may hand ``@releaseDomain`` to a domain, which then decides who hears of it."""
    owner, reader = world.guest(1), world.guest(2)
    assert owner.ask("SET_PERMS", "@releaseDomain", "n1", "r2") == "EACCES"
    assert world.dom0.ask("SET_PERMS", "@releaseDomain", "n1") == "OK"
    assert reader.ask("SET_PERMS", "@releaseDomain", "n1", "r2") == "EACCES"
    assert reader.ask("WATCH", "@releaseDomain", "t") == "OK"
    assert owner.ask("WATCH", "@releaseDomain", "t") == "OK"
    reader.take_events()
    owner.take_events()
    world.end(world.guest(7))
    assert (owner.take_events(), reader.take_events()) == ([("@releaseDomain", "t")], [])
    assert owner.ask("SET_PERMS", "@releaseDomain", "n1", "r2") == "OK"
    assert owner.ask("SET_PERMS", "@releaseDomain", "n2") == "EPERM"
    world.end(world.guest(7))
    assert reader.take_events() == [("@releaseDomain", "t")]
    assert world.dom0.ask("SET_PERMS", "@nosuch", "n0") == "EINVAL"
    assert world.dom0.ask("GET_PERMS", "@releaseDomain") == "EINVAL"  # as the real one (87)


def test_control(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    switched: list[bool] = []
    ask = world.dom0.ask
    assert ask("CONTROL", "log", "on") == "EINVAL"  # there is no trace
    world.store.say = said.append
    world.store.switch_trace = switched.append
    assert ask("CONTROL", "print", "hello") == "OK"
    assert ask("CONTROL", "log", "off") == ask("CONTROL", "log", "on") == "OK"
    assert (said, switched) == (["hello"], [False, True])
    moved: list[str] = []
    world.store.trace_to = moved.append
    assert ask("CONTROL", "logfile", "/tmp/other") == "OK"
    assert moved == ["/tmp/other"]
    file = tmp_path / "report"
    assert ask("CONTROL", "memreport", str(file)) == "OK"
    assert file.read_text().startswith("nodes ")
    assert ask("CONTROL", "memreport", "/nowhere/at/all") == "ENOENT"
    for words in (
        ["help", "x"],
        ["quota", "set"],
        ["quota", "set", "nodes", "0"],
        ["log", "maybe"],
        ["quota", "set", "nodes", "9" * 12],
        ["quota-soft", "set", "nodes", "1"],
        ["quota", "set", "transaction_nodes", "5"],
        ["print"],
    ):
        assert ask("CONTROL", *words) == "EINVAL", words
    assert ask("CONTROL", "quota", "77") == "ENOENT"
    assert ask("CONTROL", "quota", "set", "path-max", "5000") == "OK"
    assert world.store.limits.path_max == xs_wire.XENSTORE_REL_PATH_MAX
    assert ask("CONTROL", "quota-soft", "set", "memory", "1000") == "OK"
    guest = world.guest(1)
    assert guest.ask("WRITE", "data/x", "v" * 1500) == "OK"
    assert world.quota_reports == [("memory-soft", 1)]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("memory", "ENOMEM"),
        ("transaction-nodes", "ENOSPC"),
        ("node-size", "ENOSPC"),
        ("nodes", "ENOSPC"),
        ("permissions", "ENOSPC"),
        ("watches", "E2BIG"),
        ("transactions", "ENOSPC"),
    ],
)
def test_every_quota_bites_by_name_and_can_be_raised(world: World, name: str, answer: str) -> None:
    """Red when the ``Refused`` of that limit does not name it."""
    guest = world.guest(1)
    low, high = {"memory": (4096, 10**6), "node-size": (200, 4000)}.get(name, (3, 100))
    world.store.limits = Limits.parse({name: low})

    def use() -> list[str]:
        if name == "watches":
            return [guest.ask("WATCH", f"data/{number}", "t") for number in range(9)]
        if name == "transactions":
            got = [guest.ask("TRANSACTION_START", "") for _ in range(9)]
            guest.ask("RESET_WATCHES", "")
            return ["OK" if text.isdigit() else text for text in got]
        if name == "permissions":
            return [guest.ask("SET_PERMS", "data", "n1", *["r0"] * 9)]
        tx = guest.begin() if name in ("memory", "transaction-nodes") else 0
        got = [guest.ask("WRITE", f"data/{number}", "v" * 900, tx=tx) for number in range(9)]
        if tx:
            guest.end(tx, False)
        return got

    assert answer in use()
    assert set(world.quota_reports) == {(name, 1)}
    world.quota_reports.clear()
    assert world.dom0.ask("CONTROL", "quota", "set", name, str(high)) == "OK"
    guest.ask("RESET_WATCHES", "")
    guest.ask("RM", "data/0")
    assert set(use()) == {"OK"}
    assert world.quota_reports == []
