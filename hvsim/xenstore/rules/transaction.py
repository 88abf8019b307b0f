"""A transaction: a private view of the tree, with a record of what it has seen.

Optimistic.  Every node that the transaction reads or writes is remembered as it was at that moment
(also its absence); so is every list of children that it asked for.  Commit succeeds when all of
them are still the same, and otherwise ends in EAGAIN.

C xenstored keeps the list of children inside the node, so there two transactions that make
different children of one directory conflict.  Here they do not: the directory is unchanged unless
its value or permissions were, and only who *read* the list is disturbed by a new name.
"""

from __future__ import annotations

from typing import Final

from hvsim.abi.errno import EAGAIN, ENOSPC
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.errors import Refused
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.tree import Children, Node, Tree, node_cost

_NO_CHILDREN: Final = Children(0)


class Transaction:
    """One open transaction.

    Args:
        tree: the tree it will be applied to.
        limit: how many nodes it may access; None for dom0.

    Attributes:
        changes: path to "only its own watches" of what was changed, in order of the first change:
            the events to fire after the commit.
        memory: bytes that its owner is charged while it is open.
        doomed: it can only end in EAGAIN: it was open when the store died, or gives something to a
            domain that has gone.
    """

    def __init__(self, tree: Tree, limit: int | None) -> None:
        self._tree = tree
        self._limit = limit
        self._seen: dict[bytes, Node | None] = {}
        self._listed: dict[bytes, tuple[Children, int]] = {}
        self._new: dict[bytes, Node | None] = {}
        self._added: dict[bytes, dict[bytes, bool]] = {}
        self.changes: dict[bytes, bool] = {}
        self.doomed = False
        self.memory = 0
        self._updates = 0

    @property
    def accessed(self) -> int:
        """Number of nodes read or written so far."""
        return len(self._seen)

    def get(self, path: bytes) -> Node | None:
        """The node as the transaction sees it."""
        new = self._new
        if path in new:
            return new[path]
        return self._base(path)

    def _base(self, path: bytes) -> Node | None:
        seen = self._seen
        if path in seen:
            return seen[path]
        if self._limit is not None and len(seen) >= self._limit:
            raise Refused(ENOSPC, "transaction-nodes")
        node = seen[path] = self._tree.nodes.get(path)
        return node

    def names(self, path: bytes) -> list[bytes]:
        """The children of *path* as the transaction sees them."""
        node = self.get(path)
        names: dict[bytes, None] = {}
        if node is not None and node.children is not _NO_CHILDREN:
            children = node.children
            names.update(children.names)
            self._listed.setdefault(path, (children, children.generation))
        for name, there in self._added.get(path, {}).items():
            if there:
                names[name] = None
            else:
                names.pop(name, None)
        return list(names)

    def generation(self, node: Node) -> int:
        """Generation of the children of *node* in this view: another one after any change of
        theirs, by the transaction itself or by somebody else."""
        return node.children.generation + self._updates

    def children_size(self, path: bytes) -> int:
        """Bytes of the list of children; does not count as having read it."""
        node = self.get(path)
        size = node.children.size if node is not None else 0
        for name, there in self._added.get(path, {}).items():
            before = node is not None and name in node.children.names
            if there != before:
                size += (len(name) + 1) * (1 if there else -1)
        return size

    def put(self, path: bytes, value: bytes, perms: Permissions) -> None:
        """Set a node; its parent exists in this view."""
        old = self.get(path)
        if old is None:
            above, name = paths.split(path)
            self._added.setdefault(above, {})[name] = True
            children = _NO_CHILDREN
        else:
            children = old.children
        self._new[path] = Node(value, perms, 0, children)
        self._updates += 1

    def remove(self, path: bytes) -> list[bytes]:
        """Remove a node and all below it; returns their paths, the topmost first."""
        removed = []
        stack = [path]
        while stack:
            current = stack.pop()
            removed.append(current)
            stack.extend([paths.join(current, name) for name in reversed(self.names(current))])
        for current in removed:
            self._new[current] = None
            self._added.pop(current, None)
        above, name = paths.split(path)
        self._added.setdefault(above, {})[name] = False
        self._updates += 1
        return removed

    def nearest(self, path: bytes) -> Node:
        """The node of the closest parent that exists in this view."""
        while True:
            path = paths.parent(path)
            node = self.get(path)
            if node is not None:
                return node

    def conflict(self) -> bytes | None:
        """The first path that somebody else has changed; None when there is none."""
        if self.doomed:
            return b"/"
        nodes = self._tree.nodes
        for path, seen in self._seen.items():
            if nodes.get(path) is not seen:
                return path
        for path, (children, generation) in self._listed.items():
            if children.generation != generation:
                return path
        return None

    def forget_domain(self, domid: int) -> None:
        """A domain has gone: what was to be its own, or open to it, must not be the next one's that
        gets its number (XSA-322)."""
        for node in self._new.values():
            if node is not None and any(entry.domid == domid for entry in node.perms):
                self.doomed = True
                return

    def culprit(self, path: bytes) -> int:
        """Domid of who changed *path*, which :meth:`conflict` has named."""
        node = self._tree.nodes.get(path)
        if node is None:
            return self._tree.nearest(path).children.writer
        return node.children.writer if self._seen.get(path) is node else node.writer

    def usage(self) -> dict[int, tuple[int, int]]:
        """Domid to (nodes, bytes) that the commit adds to what it owns."""
        nodes = self._tree.nodes
        delta: dict[int, tuple[int, int]] = {}
        for path, new in self._new.items():
            for node, sign in ((nodes.get(path), -1), (new, 1)):
                if node is not None:
                    domid = node.perms[0].domid
                    count, memory = delta.get(domid, (0, 0))
                    size = node_cost(path, len(node.value), len(node.perms))
                    delta[domid] = (count + sign, memory + sign * size)
        return delta

    def commit(self) -> None:
        """Apply the changes to the tree.

        Raises: Refused(EAGAIN) on a conflict; nothing is changed then.
        """
        if self.conflict() is not None:
            raise Refused(EAGAIN)
        tree = self._tree
        for path, node in self._new.items():
            if node is None and path in tree.nodes:
                tree.remove(path)
        for path, node in self._new.items():
            if node is not None:
                self._apply(path, node)

    def _apply(self, path: bytes, node: Node) -> None:
        """Put one node; a node that was removed and made again has lost what was below it."""
        tree = self._tree
        tree.put(path, node.value, node.perms)
