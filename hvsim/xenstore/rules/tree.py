"""The nodes.

A flat table from path to node: a lookup costs the same in a store of ten nodes and of a million.
A :class:`Node` is never changed, only replaced, so whoever holds one holds a snapshot, and "has it
changed?" is "is it still the same object?".  The list of children is kept beside it in a
:class:`Children` with its own generation, so that a new child does not change its parent: two
transactions that make different children of one directory do not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.permissions import DEFAULT, Permissions, without_domain
from hvsim.xenstore.rules.quota import NODE_HEADER, PERMISSION_SIZE, Account
from hvsim.xenstore.rules.records import PUT, REMOVE, Record


class Children:
    """The names below a node, oldest first.

    Attributes:
        names: name to None, in order of creation.
        size: bytes of the list on the wire: every name and its NUL.
        generation: of the last change of this list.
        writer: domid that made it.
    """

    __slots__ = ("_listing", "_listing_of", "generation", "names", "size", "writer")

    def __init__(self, generation: int) -> None:
        self.names: dict[bytes, None] = {}
        self.size = 0
        self.generation = generation
        self.writer = 0
        self._listing = b""
        self._listing_of = 0

    def listing(self) -> bytes:
        """The names as they are on the wire, a NUL behind each; made once for a generation."""
        if self._listing_of != self.generation:
            self._listing = b"\0".join(self.names) + b"\0" if self.names else b""
            self._listing_of = self.generation
        return self._listing


class Node:
    """Value and permissions of a node at one moment; immutable except for ``children``.

    ``writer`` is the domid that made this state of it.
    """

    __slots__ = ("children", "generation", "perms", "value", "writer")

    def __init__(
        self, value: bytes, perms: Permissions, generation: int, children: Children
    ) -> None:
        self.value = value
        self.perms = perms
        self.generation = generation
        self.children = children
        self.writer = 0


class Tree:
    """All nodes, and what each domain owns of them.

    Attributes:
        nodes: path to node; to be read freely, changed only by the methods.
        generation: number of the last change.
        accounts: domid to account.
        actor: domid whose request is being carried out.
        log: told of every change (``recorder``); None without a journal.
    """

    def __init__(self) -> None:
        self.generation = 1
        root = Node(b"", DEFAULT, 1, Children(1))
        self.nodes: dict[bytes, Node] = {b"/": root}
        self.accounts: dict[int, Account] = {0: Account()}
        self.log: Callable[[Record], object] | None = None
        self.actor = 0
        self._charge(root, b"/", 1)

    def account(self, domid: int) -> Account:
        """The account of *domid*."""
        account = self.accounts.get(domid)
        if account is None:
            account = self.accounts[domid] = Account()
        return account

    def put(self, path: bytes, value: bytes, perms: Permissions) -> Node:
        """Set the node at *path*; its parent must exist."""
        self.generation += 1
        old = self.nodes.get(path)
        if old is None:
            node = Node(value, perms, self.generation, Children(self.generation))
            above, name = paths.split(path)
            siblings = self.nodes[above].children
            siblings.names[name] = None
            siblings.size += len(name) + 1
            siblings.generation = self.generation
            siblings.writer = self.actor
        else:
            node = Node(value, perms, self.generation, old.children)
            self._charge(old, path, -1)
        node.writer = self.actor
        self.nodes[path] = node
        self._charge(node, path, 1)
        if self.log is not None:
            self.log((PUT, path, value, perms))
        return node

    def remove(self, path: bytes) -> None:
        """Remove the node at *path* (not the root) and all below it."""
        self.generation += 1
        above, name = paths.split(path)
        siblings = self.nodes[above].children
        del siblings.names[name]
        siblings.size -= len(name) + 1
        siblings.generation = self.generation
        siblings.writer = self.actor
        for below in list(self.walk(path)):
            self._charge(self.nodes.pop(below), below, -1)
        if self.log is not None:
            self.log((REMOVE, path))

    def walk(self, path: bytes) -> Iterator[bytes]:
        """*path* and every path below it, parents first, children oldest first."""
        stack = [path]
        while stack:
            current = stack.pop()
            yield current
            names = self.nodes[current].children.names
            if names:
                prefix = b"/" if current == b"/" else current + b"/"
                stack.extend([prefix + name for name in reversed(names)])

    def nearest(self, path: bytes) -> Node:
        """The node of the closest parent of *path* that exists."""
        nodes = self.nodes
        while True:
            path = paths.parent(path)
            node = nodes.get(path)
            if node is not None:
                return node

    def owned_by(self, domid: int) -> list[bytes]:
        """The topmost nodes that *domid* owns."""
        found = []
        stack = [b"/"]
        nodes = self.nodes
        while stack:
            path = stack.pop()
            node = nodes[path]
            if node.perms[0].domid == domid and path != b"/":
                found.append(path)
                continue
            prefix = b"/" if path == b"/" else path + b"/"
            stack.extend([prefix + name for name in reversed(node.children.names)])
        return found

    def forget_domain(self, domid: int) -> None:
        """Mark every right of *domid*; what it owns becomes dom0's."""
        changed: dict[Permissions, Permissions] = {}
        for path, node in list(self.nodes.items()):
            perms = changed.get(node.perms)
            if perms is None:
                perms = changed[node.perms] = without_domain(node.perms, domid)
            if perms is not node.perms and perms != node.perms:
                self.put(path, node.value, perms)

    def _charge(self, node: Node, path: bytes, sign: int) -> None:
        account = self.account(node.perms[0].domid)
        account.nodes += sign
        account.memory += sign * node_cost(path, len(node.value), len(node.perms))


def node_cost(path: bytes, value: int, nr_permissions: int) -> int:
    """Bytes that a node costs its owner: itself, its path, and its name in the parent's list."""
    return NODE_HEADER + PERMISSION_SIZE * nr_permissions + value + len(path) + 1
