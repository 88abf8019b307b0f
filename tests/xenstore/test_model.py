"""Random operations of several domains, checked against a model that is as plain as can be.

The model keeps one dict of path to (value, permissions) and copies all of it for a transaction.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hvsim.xenstore.core import Store
from tests.xenstore.peer import Peer

NAMES = ("a", "b", "c")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
DOMAINS = (0, 1, 2)
PERMS = st.sampled_from([("n0",), ("r0",), ("n1", "r2"), ("b0",), ("n0", "b1"), ("n2", "w1")])
Nodes = dict[str, tuple[str, tuple[str, ...]]]


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def allowed(perms: tuple[str, ...], domid: int, letter: str) -> bool:
    if domid == 0 or perms[0][1:] == str(domid):
        return True
    right = next((p[0] for p in perms[1:] if p[1:] == str(domid)), perms[0][0])
    return right in (letter, "b")


class Model:
    """A store as a dict; names are in no order."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.seen: set[str] = set()
        self.listed: set[str] = set()

    def refuse(self, domid: int, path: str, letter: str) -> str:
        """The error of an access, "" when it is allowed."""
        self.seen.add(path)
        if path in self.nodes:
            return "" if allowed(self.nodes[path][1], domid, letter) else "EACCES"
        above = path
        while above not in self.nodes:
            above = parent(above)
            self.seen.add(above)
        return "ENOENT" if allowed(self.nodes[above][1], domid, letter) else "EACCES"

    def children(self, path: str) -> set[str]:
        return {p.rpartition("/")[2] for p in self.nodes if p != "/" and parent(p) == path}

    def do(self, domid: int, name: str, path: str, *rest: str) -> Any:
        letter = "r" if name in ("READ", "DIRECTORY", "GET_PERMS") else "w"
        refused = self.refuse(domid, path, letter)
        if name == "READ":
            return refused or self.nodes[path][0]
        if name == "GET_PERMS":
            return refused or " ".join(self.nodes[path][1])
        if name == "DIRECTORY":
            if not refused:
                self.listed.add(path)
            return refused or self.children(path)
        if name in ("WRITE", "MKDIR"):
            if refused == "EACCES":
                return refused
            if not refused:
                if name == "WRITE":
                    self.nodes[path] = (rest[0], self.nodes[path][1])
                return "OK"
            self.create(domid, path)
            self.nodes[path] = (rest[0] if rest else "", self.nodes[path][1])
            return "OK"
        if name == "RM":
            if refused == "ENOENT" and parent(path) in self.nodes:
                return "OK"
            if refused:
                return refused
            for gone in [p for p in self.nodes if p == path or p.startswith(path + "/")]:
                self.seen.add(gone)
                self.listed.add(gone)
                del self.nodes[gone]
            return "OK"
        return self.set_perms(domid, path, refused, rest)

    def create(self, domid: int, path: str) -> None:
        missing = []
        while path not in self.nodes:
            missing.append(path)
            path = parent(path)
        perms = self.nodes[path][1]
        if domid:
            perms = (f"{perms[0][0]}{domid}", *perms[1:])
        for made in missing:
            self.seen.add(made)
            self.nodes[made] = ("", perms)

    def set_perms(self, domid: int, path: str, refused: str, perms: tuple[str, ...]) -> str:
        if refused:
            return refused
        owner = self.nodes[path][1][0][1:]
        if domid and owner != str(domid):
            return "EACCES"
        if domid and perms[0][1:] != owner:
            return "EPERM"
        self.nodes[path] = (self.nodes[path][0], perms)
        return "OK"


class StoreMachine(RuleBasedStateMachine):
    """The store and the model side by side."""

    @initialize()
    def start(self) -> None:
        self.store = Store()
        self.store.known.update(DOMAINS)
        self.peers = [Peer(self.store, domid) for domid in DOMAINS]
        paths = ("/", "/tool", "/tool/xenstored")
        self.model = Model(dict.fromkeys(paths, ("", ("n0",))))
        self.open: dict[int, tuple[int, Model]] = {}
        self.ask(0, "WRITE", "/a", "")
        self.ask(0, "SET_PERMS", "/a", "n1", "r2")

    def ask(self, domid: int, name: str, *arguments: str, tx: bool = False) -> None:
        number, model = 0, self.model
        if tx and domid in self.open:
            number, model = self.open[domid]
        expected = model.do(domid, name, *arguments)
        got: Any = self.peers[domid].ask(name, *arguments, tx=number)
        if isinstance(expected, set):
            got = set(got.split())
        assert got == expected, (domid, name, arguments, number)

    @rule(domid=st.sampled_from(DOMAINS), path=PATHS, tx=st.booleans(),
          name=st.sampled_from(["READ", "DIRECTORY", "GET_PERMS", "MKDIR", "RM"]))
    def simple(self, domid: int, path: str, tx: bool, name: str) -> None:
        self.ask(domid, name, "/" + path, tx=tx)

    @rule(domid=st.sampled_from(DOMAINS), path=PATHS, tx=st.booleans(),
          value=st.sampled_from("123"))
    def write(self, domid: int, path: str, tx: bool, value: str) -> None:
        self.ask(domid, "WRITE", "/" + path, value, tx=tx)

    @rule(domid=st.sampled_from(DOMAINS), path=PATHS, tx=st.booleans(), perms=PERMS)
    def set_perms(self, domid: int, path: str, tx: bool, perms: tuple[str, ...]) -> None:
        self.ask(domid, "SET_PERMS", "/" + path, *perms, tx=tx)

    def finish(self, domid: int, commit: bool) -> None:
        number, model = self.open.pop(domid)
        assert self.peers[domid].end(number, commit) == "OK"
        if commit:
            self.model = Model(model.nodes)

    @rule(domid=st.sampled_from(DOMAINS), commit=st.booleans(), data=st.data())
    def whole_transaction(self, domid: int, commit: bool, data: st.DataObject) -> None:
        """A transaction that nobody disturbs behaves as the same requests outside one."""
        self.open[domid] = (self.peers[domid].begin(), Model(dict(self.model.nodes)))
        self.some(domid, data)
        self.finish(domid, commit)

    @rule(domid=st.sampled_from(DOMAINS), other=st.sampled_from(DOMAINS), data=st.data())
    def disturbed_transaction(self, domid: int, other: int, data: st.DataObject) -> None:
        """Requests in a transaction, then one of another domain, then the end: EAGAIN exactly
        when that one changed something that the transaction has seen."""
        peer = self.peers[domid]
        number, model = peer.begin(), Model(dict(self.model.nodes))
        before = dict(self.model.nodes)
        names_before = {path: self.model.children(path) for path in before}
        self.open[domid] = (number, model)
        self.some(domid, data)
        del self.open[domid]
        self.model.seen.clear()
        disturbance = data.draw(REQUESTS)
        self.ask(other, *disturbance)
        after = self.model.nodes
        touched = any(
            (path in after) != (path in before) or (path in after and after[path] != before[path])
            for path in model.seen
        )
        listed = any(
            names_before.get(path) != (self.model.children(path) if path in after else None)
            for path in model.listed
            if path in before
        )
        answer = peer.end(number)
        if touched or listed:
            assert answer == "EAGAIN"
        elif answer == "EAGAIN":
            # A node that was written with what it held before counts as changed.
            assert disturbance[0] in ("WRITE", "SET_PERMS")
            assert disturbance[1] in model.seen
        else:
            assert answer == "OK"
            changed = {p: v for p, v in model.nodes.items() if before.get(p) != v}
            for path in before.keys() - model.nodes.keys():
                after.pop(path, None)
            after.update(changed)
            self.model = Model(after)

    def some(self, domid: int, data: st.DataObject) -> None:
        for request in data.draw(st.lists(REQUESTS, max_size=4)):
            self.ask(domid, *request, tx=True)

    @invariant()
    def the_same_tree(self) -> None:
        if not hasattr(self, "store"):
            return
        nodes = self.store.tree.nodes
        assert {path.decode() for path in nodes} == set(self.model.nodes)
        for path, (value, perms) in self.model.nodes.items():
            assert self.peers[0].ask("READ", path) == value
            assert self.peers[0].ask("GET_PERMS", path) == " ".join(perms)
        assert self.peers[0].ask("CONTROL", "check") == "OK"
        owners = [perms[0][1:] for _, perms in self.model.nodes.values()]
        for domid in DOMAINS:
            assert self.store.tree.account(domid).nodes == owners.count(str(domid))

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for path in ("/a", "/b", "/c"):
            self.peers[0].ask("RM", path)
        fresh = Store()
        for domid in (1, 2):
            assert self.store.tree.account(domid).memory == 0
        assert self.store.tree.account(0).memory == fresh.tree.account(0).memory


REQUESTS = st.one_of(
    st.tuples(st.sampled_from(["READ", "DIRECTORY", "GET_PERMS", "MKDIR", "RM"]),
              PATHS.map(lambda path: "/" + path)),
    st.tuples(st.just("WRITE"), PATHS.map(lambda path: "/" + path), st.sampled_from("123")),
    st.tuples(st.just("SET_PERMS"), PATHS.map(lambda path: "/" + path),
              st.sampled_from(["n0", "b0", "n1", "n2"])),
)

StoreMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck), database=None,
)
TestStore = StoreMachine.TestCase
