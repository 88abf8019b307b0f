"""Random operations of several domains over several connections, against the plain model."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hvsim.xenstore.rules.host import NoHost
from hvsim.xenstore.rules.quota import Limits
from hvsim.xenstore.rules.store import Store
from tests.xenstore import model as m
from tests.xenstore.peer import Peer

GUESTS = (1, 2, 3)
PATHS = (
    "/",
    "/a",
    "/b",
    "/a/a",
    "/a/b",
    "/b/a",
    "/b/b",
    "/a/a/a",
    "/a/a/b",
    "/a/b/a",
    "/b/a/a",
    *(f"/local/domain/{domid}{path}" for domid in (1, 2) for path in ("", "/a", "/a/b")),
)
WATCHED = (*PATHS, "a", "a/b", "@releaseDomain", "@introduceDomain")
METHODS = (
    *["outside"] * 8,
    *["inside"] * 6,
    *["end"] * 3,
    *["begin"] * 2,
    *["watch"] * 3,
    "unwatch",
    "birth",
    "birth",
    "death",
    "set_target",
    "reset_watches",
)
CHOICES = range(60)


class Choose(Protocol):
    """Draws one of several."""

    def __call__(self, among: Sequence[Any], /) -> Any: ...


def request(choose: Choose) -> m.Request:
    name = choose(
        (
            "WRITE",
            "WRITE",
            "SET_PERMS",
            "MKDIR",
            "RM",
            "READ",
            "DIRECTORY",
            "DIRECTORY",
            "GET_PERMS",
        )
    )
    path = choose(PATHS)
    if name == "WRITE":
        return name, path, choose("12")
    if name == "SET_PERMS":
        rights = [f"{choose('nrwb')}{choose((0, *GUESTS))}" for _ in range(choose((1, 1, 2, 3, 4)))]
        return name, path, *rights
    return name, path


def operation(choose: Choose) -> tuple[Any, ...]:
    """One step: a method of the machine and its arguments."""
    method = choose(METHODS)
    if method in ("birth", "death"):
        return method, choose(GUESTS)
    if method == "set_target":
        return method, choose(CHOICES), choose(GUESTS), choose((0, *GUESTS))
    rest: dict[str, Callable[[], tuple[Any, ...]]] = {
        "outside": lambda: (request(choose),),
        "inside": lambda: ([request(choose) for _ in range(choose((1, 2, 3)))],),
        "end": lambda: (choose((True, True, True, False)),),
        "watch": lambda: (choose(WATCHED), choose("tu")),
        "unwatch": lambda: (choose(CHOICES),),
    }
    return method, choose(CHOICES), *rest.get(method, tuple)()


@st.composite
def operations(draw: st.DrawFn) -> tuple[Any, ...]:
    return operation(lambda among: draw(st.sampled_from(among)))


class Rings(NoHost):
    """The outside of the store: what a domain has is its peers."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def of(self, domid: int) -> list[Peer]:
        return [peer for peer in self.peers if peer.connection.session.domid == domid]

    def connect_domain(self, domid: int, gfn: int, port: int) -> None: ...

    def rebind_domain(self, domid: int, port: int) -> None: ...

    def disconnect_domain(self, domid: int) -> None:
        for peer in self.of(domid):
            peer.connection.close()


class StoreMachine(RuleBasedStateMachine):
    """The store and the model side by side; after every step trees, answers and events agree."""

    @initialize()
    def start(self) -> None:
        limits = Limits(
            nodes=m.NODES_MAX,
            watches=m.WATCHES_MAX,
            transactions=m.TRANSACTIONS_MAX,
            permissions=m.PERMISSIONS_MAX,
        )
        self.rings = Rings()
        self.store = Store(limits, self.rings)
        self.model = m.Model()
        self.dom0 = self.connect(0)
        self.connect(0)
        for domid in (1, 2):
            self.introduce(domid)
        self.request(self.dom0, ("WRITE", "/a", ""))
        self.request(self.dom0, ("SET_PERMS", "/a", "n1", "r2"))

    # -- connections and domains -----------------------------------------------------------------

    def connect(self, domid: int) -> Peer:
        peer = Peer(self.store, domid)
        self.rings.peers.append(peer)
        return peer

    def pick(self, choice: int) -> Peer:
        """A connection; dom0's no more often than the others'."""
        return self.rings.peers[choice % len(self.rings.peers)]

    def introduce(self, domid: int) -> None:
        assert self.dom0.ask("INTRODUCE", str(domid), "1", "1") == "OK"
        self.model.domains[domid] = -1
        self.heard(self.model.special("@introduceDomain"))
        self.connect(domid)
        self.connect(domid)
        home = f"/local/domain/{domid}"
        self.request(self.dom0, ("RM", home))
        self.request(self.dom0, ("WRITE", home, ""))
        self.request(self.dom0, ("SET_PERMS", home, f"n{domid}"))

    # One rule, not one for each method: hypothesis leaves rules out for whole runs, and most of
    # what may go wrong takes several of them.
    @rule(operation=operations())
    def step(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        getattr(self, name)(*arguments)

    def targets_in_use(self, domid: int) -> bool:
        """Whether an open transaction rests on acting for *domid*: what a domain may do is looked
        at when it asks, so the model could not ask again."""
        return any(self.model.domains[tx.domid] == domid for tx in self.model.open.values())

    def birth(self, domid: int) -> None:
        if domid not in self.model.domains:
            self.introduce(domid)

    def death(self, domid: int) -> None:
        if self.targets_in_use(domid):
            return
        if domid not in self.model.domains:
            assert self.dom0.ask("RELEASE", str(domid)) == "ENOENT"
            return
        assert self.dom0.ask("RELEASE", str(domid)) == "OK"
        dead = self.rings.of(domid)
        self.rings.peers = [peer for peer in self.rings.peers if peer not in dead]
        self.heard(self.model.release(domid, dead))

    def set_target(self, by: int, domid: int, goal: int) -> None:
        peer = self.pick(by)
        domains = self.model.domains
        if any(tx.domid == domid for tx in self.model.open.values()):
            return
        expected = "OK" if domid in domains and goal in domains and goal else "ENOENT"
        if goal == 0 and domid in domains:
            return  # a domain that acts for dom0 is no guest any more
        if peer.connection.session.domid:
            expected = "EACCES"
        elif expected == "OK":
            domains[domid] = goal
        assert peer.ask("SET_TARGET", str(domid), str(goal)) == expected

    # -- requests --------------------------------------------------------------------------------

    def request(self, peer: Peer, request: m.Request) -> None:
        expected, events = self.model.do(peer.connection.session.domid, request)
        assert self.answer(peer, request) == expected, (peer.connection.session.domid, request)
        self.heard(events)

    def answer(self, peer: Peer, request: m.Request, tx: int = 0) -> m.Answer:
        name, *arguments = request
        text = peer.ask(name, *arguments, tx=tx)
        if name == "DIRECTORY" and not text.isupper():
            return frozenset(text.split())
        return text

    def outside(self, by: int, request: m.Request) -> None:
        self.request(self.pick(by), request)

    def watch(self, by: int, path: str, token: str) -> None:
        peer = self.pick(by)
        domid = peer.connection.session.domid
        absolute = path if path[0] in "/@" else f"/local/domain/{domid}/{path}"
        watches = self.model.watches
        if any((w.who, w.path, w.token) == (peer, absolute, token) for w in watches):
            expected = "EEXIST"
        elif domid and sum(w.domid == domid for w in watches) >= m.WATCHES_MAX:
            expected = "E2BIG"
        else:
            expected = "OK"
            watches.append(m.Watch(peer, domid, absolute, path, token))
        assert peer.ask("WATCH", path, token) == expected
        self.heard([[(peer, path, token)]] if expected == "OK" else [])

    def unwatch(self, by: int, which: int) -> None:
        peer = self.pick(by)
        mine = [watch for watch in self.model.watches if watch.who is peer]
        if not mine:
            assert peer.ask("UNWATCH", "/a", "t") == "ENOENT"
            return
        gone = mine[which % len(mine)]
        self.model.watches.remove(gone)
        assert peer.ask("UNWATCH", gone.name, gone.token) == "OK"

    def reset_watches(self, by: int) -> None:
        peer = self.pick(by)
        assert peer.ask("RESET_WATCHES", "") == "OK"
        self.model.reset(peer)

    # -- transactions ----------------------------------------------------------------------------

    def begin(self, by: int) -> None:
        peer = self.pick(by)
        domid = peer.connection.session.domid
        own = sum(tx.domid == domid for tx in self.model.open.values())
        if domid and own >= m.TRANSACTIONS_MAX:
            assert peer.ask("TRANSACTION_START", "") == "ENOSPC"
        elif own < m.TRANSACTIONS_MAX:
            self.model.open[peer, peer.begin()] = m.Open(domid)

    def some_open(self, choice: int) -> tuple[Peer, int, m.Open]:
        keys = list(self.model.open)
        who, number = keys[choice % len(keys)]
        assert isinstance(who, Peer)
        return who, number, self.model.open[who, number]

    def inside(self, which: int, requests: list[m.Request]) -> None:
        if not self.model.open:
            return
        peer, number, transaction = self.some_open(which)
        for request in requests:
            got = self.answer(peer, request, number)
            expected = self.model.ask(transaction, request, got)
            assert expected in (None, got), (transaction.domid, request, expected, got)
        self.heard([])

    def end(self, which: int, commit: bool) -> None:
        if not self.model.open:
            return
        peer, number, transaction = self.some_open(which)
        got = peer.end(number, commit)
        del self.model.open[peer, number]
        if not commit:
            assert got == "OK"
            return
        right, events = self.model.commit(transaction, got)
        assert got in right, (transaction, right, got)
        self.heard(events)

    # -- what must be the same -------------------------------------------------------------------

    def heard(self, steps: list[list[m.Event]]) -> None:
        """Every connection has got its events of *steps*, in order, and no others."""
        for peer in self.rings.peers:
            got = peer.take_events()
            for step in steps:
                due = sorted((path, token) for who, path, token in step if who is peer)
                assert sorted(got[: len(due)]) == due, (got, due, steps)
                if len(step) == 1 or len({path for _, path, _ in step}) == 1:
                    ordered = [(path, token) for who, path, token in step if who is peer]
                    assert got[: len(due)] == ordered
                del got[: len(due)]
            assert got == [], f"an event that nothing explains: {got}"

    @invariant()
    def the_same_store(self) -> None:
        if not hasattr(self, "model"):
            return
        nodes = {
            path.decode(): m.Node(
                node.value.decode(),
                tuple(m.Right("nrwb"[e.bits], e.domid, e.ignored) for e in node.perms),
            )
            for path, node in self.store.tree.nodes.items()
        }
        assert nodes == self.model.nodes
        view: Any = m.View(self.model, self.model.nodes, 0)
        for domid in self.model.domains:
            account = self.store.tree.account(domid)
            assert account.nodes == view.owned(domid)
            assert account.watches == sum(w.domid == domid for w in self.model.watches)
            opened = sum(tx.domid == domid for tx in self.model.open.values())
            assert account.transactions == opened

    def teardown(self) -> None:
        """When all have gone, nothing is left of them."""
        if not hasattr(self, "model"):
            return
        assert self.dom0.ask("CONTROL", "check") == "OK"
        for domid in list(self.model.domains):
            if domid:
                assert self.dom0.ask("RELEASE", str(domid)) == "OK"
        for peer in self.rings.peers:
            peer.connection.close()
        last = Peer(self.store)
        for path in ("/a", "/b", "/local"):
            last.ask("RM", path)
        last.ask("WRITE", "/", "")
        last.ask("SET_PERMS", "/", "n0")
        assert len(self.store.watches) == 0
        left, fresh = self.store.tree.account(0), Store().tree.account(0)
        assert (left.memory, left.nodes) == (fresh.memory, fresh.nodes)
        assert set(self.store.tree.accounts) == {0}


def wander(seed: int, steps: int) -> None:
    """*steps* random operations.  Hypothesis looks for short and strange sequences and makes them
    shorter; this goes far and treats all alike."""
    machine = StoreMachine()
    machine.start()
    choose = random.Random(seed).choice
    done: list[tuple[Any, ...]] = []
    try:
        for _ in range(steps):
            done.append(operation(choose))
            machine.step(done[-1])
            machine.the_same_store()
        machine.teardown()
    except AssertionError:
        print(f"seed {seed}, the last of {len(done)} steps:", *done[-30:], sep="\n")
        raise


@pytest.mark.parametrize("seed", range(10))
def test_wandering(seed: int) -> None:
    wander(seed, 500)


def effort(examples: int, steps: int, seeded: bool) -> settings:
    """How long hypothesis is to try; seeded: the same way every time."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=seeded,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=False,
    )


StoreMachine.TestCase.settings = effort(40, 40, seeded=True)
TestStore = StoreMachine.TestCase
