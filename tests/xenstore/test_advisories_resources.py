"""One test for each public advisory about the resources of the store: the shape of its attack, and
the rule that holds against it.

"Red when" names the change of the code under which the test was seen to fail.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from hvsim.abi import xs_wire
from hvsim.domain.ring import fence
from hvsim.xenstore.daemon import connection as connection_module
from hvsim.xenstore.daemon.ring import StoreRing
from hvsim.xenstore.rules.fairness import TURN, Governor
from tests.xenstore.peer import HEADER
from tests.xenstore.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    assert made.sound()


def test_xsa_206_a_turn_is_bounded(world: World) -> None:
    """Rule: however much a domain asks at once, it is answered :data:`TURN` requests, and then the
    others have their turn; nothing is lost.

    Red when ``Connection._work`` does not look at its budget.
    """
    guest = world.guest(1)
    world.store.limits.outstanding = 10_000
    payload = b"data/x\0y"
    request = HEADER.pack(xs_wire.XS_WRITE, 7, 0, len(payload)) + payload
    guest.connection.feed(request * 300)
    answered = len(guest.take())
    assert world.waits(guest)
    assert 0 < answered <= TURN
    rounds = 1
    while world.waits(guest):
        guest.connection.turn()
        more = len(guest.take())
        assert more <= TURN
        answered += more
        rounds += 1
    assert answered == 300
    assert rounds >= 300 // TURN


def test_xsa_206_who_breaks_others_transactions_is_held(world: World) -> None:
    """Rule: a toolstack whose transaction reads what a guest keeps changing gets through; the
    guest waits, for a bounded time, and is told on.

    Red when ``transactions._blame`` does not charge (the 64 attempts are used up).
    """
    clock = [100.0]
    world.store.governor = Governor(lambda: clock[0])
    guest = world.guest(1)
    storm = HEADER.pack(xs_wire.XS_WRITE, 7, 0, 8) + b"data/x\0y"
    attempts = 0
    while True:
        attempts += 1
        assert attempts < 64
        tx = world.dom0.begin()
        world.dom0.ask("READ", "/local/domain/1/data/x", tx=tx)
        world.dom0.ask("WRITE", "/tool/x", "1", tx=tx)
        if world.waits(guest):
            guest.connection.turn()
        else:
            guest.connection.feed(storm)
        guest.take()
        if world.dom0.end(tx) == "OK":
            break
    assert world.waits(guest)
    assert world.quota_reports == [("conflicts", 1)]
    assert 0.0 < guest.connection.delay() <= 10.0
    clock[0] += guest.connection.delay()
    guest.connection.turn()
    assert len(guest.take()) == 1


def test_xsa_272_usage_is_exact_after_any_mixture(world: World) -> None:
    """Rule: what an account says is what the domain has, whatever was written over, removed,
    committed or refused; using up and giving back can go on for ever.

    Red when ``Tree.remove`` does not give back what was below a node.
    """
    guest = world.guest(1)
    for _ in range(3):
        for number in range(400):
            assert guest.ask("WRITE", f"data/a{number % 7}/b{number}", "v" * (number % 90)) == "OK"
        tx = guest.begin()
        assert guest.ask("RM", "data/a1", tx=tx) == "OK"
        assert guest.ask("WRITE", "data/a1/new", "x", tx=tx) == "OK"
        assert guest.end(tx) == "OK"
        assert guest.ask("RM", "data") == "OK"
        assert world.dom0.ask("WRITE", "/local/domain/1/data", "") == "OK"
        assert world.dom0.ask("SET_PERMS", "/local/domain/1/data", "n1") == "OK"
        assert world.sound()
    assert world.store.tree.account(1).nodes == 1


def test_xsa_323_a_relative_path_has_the_same_limit_behind_its_prefix(world: World) -> None:
    """Rule: a path that is as long as may be stays valid when it is made absolute, one byte more is
    EINVAL, both with and without the prefix; every answer and event fits a message.

    Red when ``paths.canonical`` does not except ``/local/domain/<domid>/``.
    """
    guest = world.guest(1)
    world.store.limits.node_size = 1 << 20
    longest = "data/" + "n" * (2048 - 5)
    assert guest.ask("WATCH", "data", "t") == "OK"
    guest.take_events()
    assert guest.ask("WRITE", longest, "v") == "OK"
    assert guest.ask("READ", f"/local/domain/1/{longest}") == "v"
    assert guest.take_events() == [(longest, "t")]
    for path in (longest + "n", f"/local/domain/1/{longest}n", "/" + "n" * 2048):
        assert guest.ask("WRITE", path, "v") == "EINVAL"


def test_xsa_324_a_huge_token_drops_its_event(world: World) -> None:
    """Rule: an event longer than a message may be is not sent; the watch is harmless.

    Red when ``Connection.send_event`` does not look at the length.
    """
    guest = world.guest(1)
    world.store.limits.node_size = 1 << 20
    token = "t" * (xs_wire.XENSTORE_PAYLOAD_MAX - len("data") - 2)
    assert guest.ask("WATCH", "data", token) == "OK"
    guest.take_events()
    assert guest.ask("WRITE", "data/" + "n" * 900, "v") == "OK"
    assert guest.connection.out == b""
    assert guest.ask("WRITE", "data", "v") == "OK"
    assert guest.take_events() == [("data", token)]


def test_xsa_326_requests_are_not_taken_while_answers_are_not_read(world: World) -> None:
    """Rule: at 20 unread messages the next request waits; what waits is bounded, others go on.

    Red when ``Connection._full`` does not count the queue.
    """
    guest = world.guest(1)
    payload = b"data\0"
    guest.connection.feed((HEADER.pack(xs_wire.XS_READ, 7, 0, len(payload)) + payload) * 500)
    assert guest.connection.outstanding == world.store.limits.outstanding == 20
    assert guest.connection.stalled
    assert "outstanding     :       20\n" in world.dom0.ask("CONTROL", "quota", "1")
    guest.connection.unread()
    assert ("outstanding", 1) in world.quota_reports
    answered = 0
    while guest.connection.out or guest.connection.waiting:
        answered += len(guest.take())
        if guest.connection.waiting:
            guest.connection.turn()
    assert answered == 500


def test_xsa_330_reset_watches_gives_the_quota_back_once(world: World) -> None:
    """Rule: after RESET_WATCHES there is no watch left in any table, and exactly the quota again.

    Red when ``Connection.reset`` does not remove the watches from the table.
    """
    guest = world.guest(1)
    for _ in range(5):
        answers = [guest.ask("WATCH", f"data/{number}", "t") for number in range(130)]
        assert answers == ["OK"] * 128 + ["E2BIG"] * 2
        assert guest.ask("RESET_WATCHES", "") == "OK"
        assert len(world.store.watches) == 0
    guest.take_events()
    assert guest.ask("WRITE", "data/1", "x") == "OK"
    assert guest.take_events() == []
    assert ("watches", 1) in world.quota_reports


def test_xsa_349_states_toggled_fast_do_not_pile_up(world: World) -> None:
    """Rule: events that a watcher does not take are bounded: equal ones are kept once, and there is
    a last byte.

    Red when ``send_event`` does not look for an equal one.
    """
    guest, watcher = world.guest(1), world.guest(2)
    assert world.dom0.ask("SET_PERMS", "/local/domain/1/data", "n1", "r2") == "OK"
    assert watcher.ask("WATCH", "/local/domain/1/data", "t" * 3000) == "OK"
    for _ in range(3):
        for number in range(400):
            assert guest.ask("WRITE", f"data/s{number % 60}", "1") == "OK"
        most = len(watcher.connection.out)
        assert most < connection_module.OUTPUT_HIGH + 61 * 3100
    assert len(watcher.connection.out) == most


def test_xsa_414_a_refused_create_leaves_nothing(world: World) -> None:
    """Rule: a request that would make several nodes makes all or none.

    Red when ``_check_create`` looks only at the last node.
    """
    guest = world.guest(1)
    tree = world.store.tree
    while (left := 1000 - tree.account(1).nodes) > 2:
        batch = min(left - 2, 300)
        number = tree.generation
        deep = "/".join(f"n{step}" for step in range(batch))[:1500].rpartition("/")[0]
        assert guest.ask("WRITE", f"data/{number}/{deep}", "v") in ("OK", "ENOSPC")
        assert guest.ask("MKDIR", f"data/m{number}") == "OK"
        if tree.account(1).nodes > 700:
            break
    fill = 0
    while tree.account(1).nodes < 998:
        fill += 1
        assert guest.ask("WRITE", f"data/f{fill % 9}/x{fill}", "v") == "OK"
    before = dict(tree.nodes)
    assert guest.ask("WRITE", "data/p/q/r", "v") == "ENOSPC"
    assert tree.nodes == before
    assert ("nodes", 1) in world.quota_reports
    assert guest.ask("WRITE", "data/p/q", "v") == "OK"


def test_xsa_415_a_refused_create_in_a_transaction_leaves_nothing(world: World) -> None:
    """Rule: the same inside a transaction, whatever its end; every node has its parent afterwards.

    Red when ``_check_create`` returns at once inside a transaction.
    """
    guest = world.guest(1)
    for decision in (True, False):
        tx = guest.begin()
        assert guest.ask("WRITE", "data/t/u/v", "x" * 2040, tx=tx) == "ENOSPC"
        assert guest.ask("DIRECTORY", "data", tx=tx) == ""
        assert guest.ask("WRITE", "data/w", "ok", tx=tx) == "OK"
        assert guest.end(tx, decision) == "OK"
        assert sorted(world.store.tree.nodes[b"/local/domain/1/data"].children.names) == (
            [b"w"] if decision else []
        )
        guest.ask("RM", "data/w")


def test_xsa_416_a_refused_request_keeps_nothing(world: World) -> None:
    """Rule: however often a request is refused, no table of the store or of the connection grows,
    in and out of transactions.

    Red when ``Session.canonical`` has no limit to what it remembers.
    """
    guest = world.guest(1)
    tx = guest.begin()
    connection = guest.connection
    for number in range(2000):
        assert guest.ask("WRITE", f"/nowhere{number}/x", "y" * 500) == "EACCES"
        assert guest.ask("READ", f"data/none{number}") == "ENOENT"
        assert guest.ask("WATCH", "bad path", "t") == "EINVAL"
        assert guest.ask("UNWATCH", f"data/{number}", "t") == "ENOENT"
        assert guest.ask("WRITE", f"data/x{number}", "z" * 2100, tx=tx) == "ENOSPC"
    assert len(connection.session.known) <= 512
    assert len(connection.inbox.rest) == len(connection.out) == connection.outstanding == 0
    assert len(world.store.watches) == 0
    assert connection.session.transactions[tx].accessed <= world.store.limits.transaction_nodes
    assert world.store.tree.account(1).transactions == 1
    assert guest.end(tx, False) == "OK"


def test_xsa_418_a_deep_tree_is_only_deep(world: World) -> None:
    """Rule: nothing that walks the tree recurses: 1000 levels are removed, also in a transaction.

    Red when ``Tree.walk`` calls itself (RecursionError).
    """
    deep = "/x" * 1020
    for in_transaction in (False, True):
        assert world.dom0.ask("WRITE", deep, "v") == "OK"
        assert world.dom0.ask("READ", deep) == "v"
        tx = world.dom0.begin() if in_transaction else 0
        assert world.dom0.ask("RM", "/x", tx=tx) == "OK"
        if tx:
            assert world.dom0.end(tx) == "OK"
        assert world.dom0.ask("READ", "/x") == "ENOENT"
    guest = world.guest(1)
    path = "data" + "/x" * 995
    assert guest.ask("WRITE", path, "v") == "OK"
    world.end(guest)
    assert world.store.tree.accounts.get(1) is None


@pytest.mark.parametrize("length", [4097, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_xsa_420_a_length_beyond_all_bounds_ends_the_connection(world: World, length: int) -> None:
    """Rule: such a header is the end of that connection, at once, and once; nothing is awaited or
    tried again.

    Red when ``_work`` compares with a signed 32-bit length.
    """
    guest = world.guest(1)
    guest.connection.feed(HEADER.pack(xs_wire.XS_WRITE, 7, 0, length) + b"data/x\0y")
    assert "over the limit" in guest.connection.broken
    guest.connection.feed(b"more")
    guest.connection.turn()
    assert guest.connection.out == b""
    assert guest.connection.inbox.rest == b""
    assert world.dom0.ask("READ", "/local/domain/1/name") == "guest"


def test_xsa_421_what_a_transaction_made_and_removed_costs_nothing(world: World) -> None:
    """Rule: create and delete in one transaction commits whole, and the account is exact; the
    quota of nodes holds at the commit.

    Red when ``Transaction.commit`` removes what the tree never had, and when ``_commit`` does not
    look at the quota.
    """
    guest = world.guest(1)
    before = world.store.tree.account(1).nodes
    for _ in range(50):
        tx = guest.begin()
        for number in range(30):
            assert guest.ask("WRITE", f"data/n{number}/deep", "x", tx=tx) == "OK"
            assert guest.ask("RM", f"data/n{number}", tx=tx) == "OK"
        assert guest.ask("WRITE", "data/stays", "x", tx=tx) == "OK"
        assert guest.end(tx) == "OK"
        assert world.store.tree.account(1).nodes == before + 1
    transactions = [guest.begin() for _ in range(4)]
    for index, tx in enumerate(transactions):
        for number in range(300):
            answer = guest.ask("WRITE", f"data/{index}-{number % 3}/{number}", "x", tx=tx)
            assert answer == "OK"
    assert [guest.end(tx) for tx in transactions] == ["OK", "OK", "OK", "ENOSPC"]
    assert world.store.tree.account(1).nodes <= 1000


def test_xsa_483_the_next_owner_of_a_domid_begins_at_zero(world: World) -> None:
    """Rule: watches, transactions, nodes and memory of a gone domain do not count against the next
    one of its number.

    Red when ``Store._forget`` does not end the domain's connections first.
    """
    for _ in range(3):
        guest = world.guest(1)
        assert all(guest.ask("WATCH", f"data/{n}", "t") == "OK" for n in range(128))
        assert all(guest.ask("TRANSACTION_START", "").isdigit() for _ in range(10))
        assert guest.ask("TRANSACTION_START", "") == "ENOSPC"
        assert all(guest.ask("WRITE", f"data/{n}", "x" * 1900) == "OK" for n in range(100))
        # The hypervisor's news come before the connection is closed.
        world.host.existing.discard(1)
        world.store.update_domains({})
        guest.connection.close()
        world.dom0.ask("RM", "/local/domain/1")
        account = world.store.tree.account(1)
        assert (account.nodes, account.watches, account.transactions, account.memory) == (
            0,
            0,
            0,
            0,
        )


def test_xsa_484_reset_watches_inside_a_transaction(world: World) -> None:
    """Rule: it is carried out; every transaction of that client has ended, also the one that it was
    asked in, and nobody else's.

    Red when ``Connection.reset`` keeps the transactions.
    """
    guest, other = world.guest(1), world.guest(2)
    theirs = other.begin()
    tx = guest.begin()
    assert guest.ask("WRITE", "data/x", "1", tx=tx) == "OK"
    assert guest.ask("WATCH", "data", "t", tx=tx) == "OK"
    assert guest.ask("RESET_WATCHES", "", tx=tx) == "OK"
    assert guest.end(tx) == "ENOENT"
    assert guest.ask("READ", "data/x") == "ENOENT"
    guest.take_events()
    assert guest.ask("WRITE", "data/y", "1") == "OK"
    assert guest.take_events() == []
    assert other.end(theirs) == "OK"
    assert world.store.tree.account(1).transactions == 0


def test_xsa_155_and_420_a_ring_that_changes_while_it_is_read(world: World) -> None:
    """Rule: each index and each byte of the page is read once: what was checked is what is used.

    Red when ``StoreRing._read`` reads ``req_prod`` again for the copy.
    """
    guest = world.guest(1)
    page = memoryview(bytearray(4096))
    ring = StoreRing(page, guest.connection)
    payload = b"data/ring\0v"
    message = HEADER.pack(xs_wire.XS_WRITE, 7, 0, len(payload)) + payload
    page[xs_wire.REQ : xs_wire.REQ + len(message)] = message
    struct.pack_into("@I", page, xs_wire.REQ_PROD, len(message))
    fence()
    ring.pump()
    for wrong in (1025, 2**31, 2**32 - 1):
        assert world.dom0.ask("READ", "/local/domain/1/data/ring") == "v"
        consumer = struct.unpack_from("@I", page, xs_wire.REQ_CONS)[0]
        struct.pack_into("@I", page, xs_wire.REQ_PROD, (consumer + wrong) % 2**32)
        ring.pump()
        assert page[xs_wire.ERROR] == xs_wire.XENSTORE_ERROR_RINGIDX
        assert guest.connection.broken
