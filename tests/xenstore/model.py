"""The rules of the store, written as plainly as can be: dictionaries that are copied.

A transaction is the list of its requests with their answers.  It commits when asking the same now,
all at once, would be answered the same; the model does ask.  That is what *serialisable* means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

NODES_MAX, WATCHES_MAX, TRANSACTIONS_MAX, PERMISSIONS_MAX = 4, 3, 2, 3
"""What a domain may have; small, so that the limits bite."""

Answer = str | frozenset[str]
Request = tuple[str, ...]
Place = tuple[str, str]
"""("node", path) or ("names", path): what a transaction has seen, or somebody has changed."""
Event = tuple[object, str, str]
"""Connection, path as the watcher knows it, token."""


class Right(NamedTuple):
    """One entry of a node's permissions; dead: given to a domain that was not there, or has gone
    since."""

    letter: str
    domid: int
    dead: bool = False


class Node(NamedTuple):
    value: str
    rights: tuple[Right, ...]


class Change(NamedTuple):
    """A path whose watchers are told; exact: only those of the path itself."""

    path: str
    exact: bool


Step = list[Change]
"""Changes whose order among each other is free: those below a directory that is removed."""


def parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


class View:
    """Nodes, and the verbs on them, for one domain that may act for another (``target``)."""

    def __init__(self, model: Model, nodes: dict[str, Node], domid: int) -> None:
        self.model = model
        self.nodes = nodes
        self.domid = domid
        self.seen: set[Place] = set()
        self.changed: set[Place] = set()
        self.steps: list[Step] = []
        self.limited = True
        self.there: Collection[int] = model.domains

    def may(self, rights: tuple[Right, ...], letter: str) -> bool:
        return self.model.may(self.domid, rights, letter)

    def find(self, path: str, letter: str) -> str:
        """The error of an access, "" when it is allowed."""
        self.seen.add(("node", path))
        if path in self.nodes:
            return "" if self.may(self.nodes[path].rights, letter) else "EACCES"
        if self.domid == 0:
            return "ENOENT"
        above = path
        while above not in self.nodes:
            above = parent(above)
            self.seen.add(("node", above))
        return "ENOENT" if self.may(self.nodes[above].rights, letter) else "EACCES"

    def below(self, path: str) -> list[str]:
        """*path* and all below it."""
        return [p for p in self.nodes if p == path or p.startswith(path.rstrip("/") + "/")]

    def do(self, name: str, path: str, *rest: str) -> Answer:
        """One verb; its answer."""
        refused = self.find(path, "r" if name in ("READ", "DIRECTORY", "GET_PERMS") else "w")
        if name == "READ":
            return refused or self.nodes[path].value
        if name == "GET_PERMS":
            return refused or " ".join(f"{r.letter}{r.domid}" for r in self.nodes[path].rights)
        if name == "DIRECTORY":
            if refused:
                return refused
            self.seen.add(("names", path))
            return frozenset(
                p.rpartition("/")[2] for p in self.nodes if p != "/" and parent(p) == path
            )
        if name == "RM":
            return self.remove(path, refused)
        if name == "SET_PERMS":
            return self.set_perms(path, refused, rest)
        if refused == "EACCES":
            return refused
        if refused:
            return self.create(path, rest[0] if name == "WRITE" else "")
        if name == "WRITE":
            self.put(path, Node(rest[0], self.nodes[path].rights))
            self.steps.append([Change(path, False)])
        return "OK"

    def put(self, path: str, node: Node) -> None:
        if path not in self.nodes:
            self.changed.add(("names", parent(path)))
        self.changed.add(("node", path))
        self.nodes[path] = node

    def create(self, path: str, value: str) -> str:
        missing, above = [path], parent(path)
        while above not in self.nodes:
            missing.append(above)
            above = parent(above)
        self.seen.update(("node", p) for p in (*missing, above))
        rights = self.nodes[above].rights
        if self.domid:
            if rights[0].domid != self.domid:
                rights = (Right(rights[0].letter, self.domid), *rights[1:])
            if self.limited and self.owned(self.domid) + len(missing) > NODES_MAX:
                return "ENOSPC"
        for made in reversed(missing):
            self.put(made, Node(value if made == path else "", rights))
        self.steps.append([Change(path, False)])
        return "OK"

    def owned(self, domid: int) -> int:
        return sum(node.rights[0].domid == domid for node in self.nodes.values())

    def remove(self, path: str, refused: str) -> str:
        if refused == "ENOENT":
            self.seen.add(("node", parent(path)))
            return "OK" if parent(path) in self.nodes else refused
        if refused:
            return refused
        if path == "/":
            return "EINVAL"
        gone = self.below(path)
        self.steps.append([Change(path, False)])
        self.steps.append([Change(p, True) for p in gone if p != path])
        self.changed.add(("names", parent(path)))
        for p in gone:
            self.seen |= {("node", p), ("names", p)}
            self.changed |= {("node", p), ("names", p)}
            del self.nodes[p]
        return "OK"

    def set_perms(self, path: str, refused: str, texts: tuple[str, ...]) -> str:
        # What the request says is looked at before the node is.
        if self.domid and len(texts) > PERMISSIONS_MAX:
            return "ENOSPC"
        rights = tuple(
            Right(text[0], int(text[1:]), int(text[1:]) not in self.there) for text in texts
        )
        if rights[0].dead:
            return "ENOENT"
        if refused:
            return refused
        node = self.nodes[path]
        if self.domid and not self.model.owns(self.domid, node.rights):
            return "EACCES"
        if self.domid and rights[0].domid != node.rights[0].domid:
            return "EPERM"
        self.put(path, Node(node.value, rights))
        self.steps.append([Change(path, False)])
        return "OK"


class Asked(NamedTuple):
    """A request in a transaction, its answer, and the domains that there were."""

    request: Request
    answer: Answer
    there: frozenset[int]


@dataclass
class Open:
    """A transaction.

    disturbed: somebody changed what it has seen; doomed: it gives something to a domain that has
    died since.
    """

    domid: int
    asked: list[Asked] = field(default_factory=list)
    seen: set[Place] = field(default_factory=set)
    disturbed: bool = False
    doomed: bool = False


@dataclass(frozen=True)
class Watch:
    """A registration; name is the path as the watcher gave it."""

    who: object
    domid: int
    path: str
    name: str
    token: str


class Model:
    """The whole store.  ``who`` is any object that stands for a connection."""

    def __init__(self) -> None:
        rights = (Right("n", 0),)
        self.nodes = {path: Node("", rights) for path in ("/", "/tool", "/tool/xenstored")}
        self.domains: dict[int, int] = {0: -1}
        self.watches: list[Watch] = []
        self.open: dict[tuple[object, int], Open] = {}

    # -- rights ----------------------------------------------------------------------------------

    def owns(self, domid: int, rights: tuple[Right, ...]) -> bool:
        mine = (domid, self.domains.get(domid, -1))
        return domid == 0 or (not rights[0].dead and rights[0].domid in mine)

    def may(self, domid: int, rights: tuple[Right, ...], letter: str) -> bool:
        mine = (domid, self.domains.get(domid, -1))
        named = [right for right in rights[1:] if right.domid in mine and not right.dead]
        return self.owns(domid, rights) or (named or rights)[0].letter in (letter, "b")

    # -- events ----------------------------------------------------------------------------------

    def tell(self, steps: Iterable[Step], before: dict[str, Node]) -> list[list[Event]]:
        """The events of *steps*, each step in any order, for who can read the node or the directory
        that it is in, or could before."""
        told = []
        for step in steps:
            events: list[Event] = []
            for path, exact in step:
                for watch in self.watches:
                    if watch.path == path or (
                        not exact and path.startswith(watch.path.rstrip("/") + "/")
                    ):
                        near = [
                            nodes.get(p)
                            for nodes in (before, self.nodes)
                            for p in (path, parent(path))
                        ]
                        if watch.domid == 0 or any(
                            node and self.may(watch.domid, node.rights, "r") for node in near
                        ):
                            name = watch.name + path[len(watch.path) :]
                            events.append((watch.who, name, watch.token))
            if events:
                told.append(events)
        return told

    def special(self, path: str) -> list[list[Event]]:
        """The events of a special node, which only dom0 may read."""
        events: list[Event] = [
            (w.who, path, w.token) for w in self.watches if w.path == path and w.domid == 0
        ]
        return [events] if events else []

    def disturb(self, changed: set[Place], but: Open | None = None) -> None:
        for transaction in self.open.values():
            if transaction is not but and transaction.seen & changed:
                transaction.disturbed = True

    # -- requests --------------------------------------------------------------------------------

    def do(self, domid: int, request: Request) -> tuple[Answer, list[list[Event]]]:
        """A request outside a transaction: its answer, and the events step by step."""
        before = dict(self.nodes)
        view = View(self, self.nodes, domid)
        answer = view.do(*request)
        self.disturb(view.changed)
        return answer, self.tell(view.steps, before)

    def replay(self, transaction: Open) -> tuple[View, list[Answer]]:
        """Ask all of it again, of the store as it is now."""
        view = View(self, dict(self.nodes), transaction.domid)
        view.limited = False  # what it will own is counted at the end
        answers = []
        for request, _, view.there in transaction.asked:
            answers.append(view.do(*request))
        return view, answers

    def ask(self, transaction: Open, request: Request, got: Answer) -> Answer | None:
        """A request in a transaction, and what it was answered: the answer that it must get, None
        when any will do because somebody has disturbed it."""
        transaction.asked.append(Asked(request, got, frozenset(self.domains)))
        view, answers = self.replay(transaction)
        transaction.seen |= view.seen
        return None if transaction.disturbed or transaction.doomed else answers[-1]

    def commit(self, transaction: Open, got: str) -> tuple[set[str], list[list[Event]]]:
        """The end of a transaction, answered *got*: the answers that are right, and the events."""
        view, answers = self.replay(transaction)
        if transaction.doomed or answers != [asked.answer for asked in transaction.asked]:
            return {"EAGAIN"}, []
        right = "ENOSPC" if transaction.domid and self.over(view) else "OK"
        if right == "OK" and got == "OK":
            before, self.nodes = self.nodes, view.nodes
            self.disturb(view.changed, transaction)
            return {"OK"}, self.tell(first_changes(view.steps), before)
        # Changed and changed back is a change as well.
        return ({right, "EAGAIN"} if transaction.disturbed else {right}), []

    def gives_to(self, transaction: Open, domid: int) -> bool:
        """Whether a node that the transaction makes or changes gives *domid* a right."""
        view, _ = self.replay(transaction)
        return any(
            right.domid == domid
            for path, node in view.nodes.items()
            if ("node", path) in view.changed
            for right in node.rights
        )

    def over(self, view: View) -> bool:
        """Whether what the transaction makes is more than some domain may own."""
        now = View(self, self.nodes, 0)
        return any(
            view.owned(domid) > max(NODES_MAX, now.owned(domid)) for domid in self.domains if domid
        )

    def reset(self, who: object) -> None:
        """A connection drops its watches and transactions."""
        self.watches = [watch for watch in self.watches if watch.who is not who]
        self.open = {key: tx for key, tx in self.open.items() if key[0] is not who}

    def release(self, domid: int, connections: Iterable[object]) -> list[list[Event]]:
        """A domain dies with its connections, nodes, rights, and what others could do for it."""
        before = dict(self.nodes)
        for who in connections:
            self.reset(who)
        for transaction in self.open.values():
            if not transaction.disturbed and self.gives_to(transaction, domid):
                transaction.doomed = True
        del self.domains[domid]
        view = View(self, self.nodes, 0)
        for path in list(self.nodes):
            if path in self.nodes and self.nodes[path].rights[0].domid == domid and path != "/":
                above = path
                while above != "/":
                    above = parent(above)
                    if above != "/" and self.nodes[above].rights[0].domid == domid:
                        path = above
                view.remove(path, "")
        for path, (value, rights) in list(self.nodes.items()):
            if any(right.domid == domid and not right.dead for right in rights):
                left = [
                    right._replace(dead=True) if right.domid == domid else right for right in rights
                ]
                if rights[0].domid == domid:
                    left[0] = Right(rights[0].letter, 0)
                view.put(path, Node(value, tuple(left)))
        self.disturb(view.changed)
        # The removals happen in the order of the tree, which the model does not keep.
        together = [[change for step in view.steps for change in step]]
        told = self.tell(together, before)
        for other, target in self.domains.items():
            if target == domid:
                self.domains[other] = -1
        return [*told, *self.special("@releaseDomain")]


def first_changes(steps: Iterable[Step]) -> list[Step]:
    """What a transaction tells: each path once, where it was changed first, as it was last."""
    exact = {change.path: change.exact for step in steps for change in step}
    told: set[str] = set()
    result = []
    for step in steps:
        paths = [path for path, _ in step if path not in told]
        told.update(paths)
        result.append([Change(path, exact[path]) for path in paths])
    return result
