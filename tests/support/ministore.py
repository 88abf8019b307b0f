"""A store in one process, for tests of what domains *do* with a store.

It has the semantics that a xenbus relies on: events for every node of a committed transaction, an
event at registration, conflicts (EAGAIN), relative paths; and it writes down who asked for what, so
that a test can compare with a recording.  Permissions and quotas are the real daemon's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hvsim.abi import xs_wire
from hvsim.xs.client import Reply, StoreClient
from hvsim.xs.requests import Request


@dataclass
class _Transaction:
    nodes: dict[str, bytes]
    seen: dict[str, bytes | None] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


class Connection:
    """One client's connection; a ``Transport``."""

    def __init__(self, store: MiniStore, domid: int, name: str) -> None:
        self.store = store
        self.domid = domid
        self.name = name
        self.on_event: Callable[[bytes], None] = lambda _payload: None
        self.on_dispatch: Callable[[], bool] = lambda: False
        self.watches: list[tuple[str, str]] = []

    def exchange(self, batch: Sequence[Request[object]]) -> list[Reply]:
        """Carry the requests out, one after the other."""
        return [self.store.serve(self, request) for request in batch]

    def close(self) -> None:
        """Forget the connection."""
        self.store.connections.remove(self)

    def absolute(self, path: str) -> str:
        """The node that this client means by *path*."""
        return path if path.startswith(("/", "@")) else f"/local/domain/{self.domid}/{path}"


class MiniStore:
    """The store itself.

    Attributes:
        trace: "NAME OP path [value]" of every request that changed or watched something, and of
            every READ and DIRECTORY, in order.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, bytes] = {"": b""}
        self.connections: list[Connection] = []
        self.trace: list[str] = []
        self.conflicts = 0
        self._transactions: dict[int, _Transaction] = {}
        self._next_tx = 1

    def connect(self, domid: int, name: str) -> StoreClient:
        """A client of domain *domid*, called *name* in the trace."""
        connection = Connection(self, domid, name)
        self.connections.append(connection)
        return StoreClient(connection)

    def get(self, path: str) -> str | None:
        """Value of a node, for a test to look at."""
        value = self.nodes.get(path)
        return None if value is None else value.decode()

    def settle(self) -> None:
        """Hand events out until every client is quiet (no callback waits for another)."""
        for _ in range(1000):
            busy = [c for c in self.connections if c.on_dispatch()]
            if not busy and not any(self._pending(c) for c in self.connections):
                return
        raise AssertionError("the clients keep each other busy for ever")

    @staticmethod
    def _pending(connection: Connection) -> bool:
        client = getattr(connection.on_dispatch, "__self__", None)
        return isinstance(client, StoreClient) and client.pending_events > 0

    # -- requests ----------------------------------------------------------------------------

    def serve(self, who: Connection, request: Request[object]) -> Reply:
        """One request."""
        parts = request.payload.split(b"\0")
        path = parts[0].decode()
        value = request.payload[len(parts[0]) + 1 :]
        self._note(who, request, path, value)
        tx = self._transactions.get(request.tx) if request.tx else None
        node = who.absolute(path)
        match request.op:
            case xs_wire.XS_TRANSACTION_START:
                self._transactions[self._next_tx] = _Transaction(dict(self.nodes))
                self._next_tx += 1
                return request.op, b"%d\0" % (self._next_tx - 1)
            case xs_wire.XS_TRANSACTION_END:
                return self._end(request, self._transactions.pop(request.tx), parts[0] == b"T")
            case xs_wire.XS_WATCH:
                who.watches.append((path, parts[1].decode()))
                who.on_event(parts[0] + b"\0" + parts[1] + b"\0")
                return request.op, b"OK\0"
            case xs_wire.XS_UNWATCH:
                who.watches.remove((path, parts[1].decode()))
                return request.op, b"OK\0"
            case xs_wire.XS_READ | xs_wire.XS_DIRECTORY:
                return self._look(request, tx, node)
            case xs_wire.XS_WRITE | xs_wire.XS_MKDIR | xs_wire.XS_RM:
                return self._change(request, tx, node, value)
            case xs_wire.XS_SET_PERMS:
                self._fire([node], tx)
                return request.op, b"OK\0"
        return xs_wire.XS_ERROR, b"ENOSYS\0"

    def _note(self, who: Connection, request: Request[object], path: str, value: bytes) -> None:
        if request.op in (xs_wire.XS_TRANSACTION_START, xs_wire.XS_TRANSACTION_END):
            return
        text = f"{who.name} {request.name} {path}"
        if request.op == xs_wire.XS_WRITE:
            text += f" {value.decode()}"
        self.trace.append(text)

    def _look(self, request: Request[object], tx: _Transaction | None, node: str) -> Reply:
        nodes = self.nodes if tx is None else tx.nodes
        if tx is not None:
            tx.seen.setdefault(node, self.nodes.get(node))
        if node not in nodes:
            return xs_wire.XS_ERROR, b"ENOENT\0"
        if request.op == xs_wire.XS_READ:
            return request.op, nodes[node]
        prefix = node + "/"
        names = [n[len(prefix) :] for n in nodes if n.startswith(prefix)]
        return request.op, b"".join(n.encode() + b"\0" for n in names if "/" not in n)

    def _change(
        self, request: Request[object], tx: _Transaction | None, node: str, value: bytes
    ) -> Reply:
        nodes = self.nodes if tx is None else tx.nodes
        if tx is not None:
            tx.seen.setdefault(node, self.nodes.get(node))
        if request.op == xs_wire.XS_RM:
            if node not in nodes:
                return xs_wire.XS_ERROR, b"ENOENT\0"
            gone = [n for n in nodes if n == node or n.startswith(node + "/")]
            for name in gone:
                del nodes[name]
            self._fire([node], tx, gone)
            return request.op, b"OK\0"
        parent = node
        while (parent := parent.rpartition("/")[0]) not in nodes:
            nodes[parent] = b""
        if request.op == xs_wire.XS_WRITE or node not in nodes:
            nodes[node] = value if request.op == xs_wire.XS_WRITE else b""
            self._fire([node], tx)
        return request.op, b"OK\0"

    def _end(self, request: Request[object], tx: _Transaction, commit: bool) -> Reply:
        if commit:
            if any(self.nodes.get(node) != value for node, value in tx.seen.items()):
                self.conflicts += 1
                return xs_wire.XS_ERROR, b"EAGAIN\0"
            before = set(self.nodes)
            for node in tx.seen:
                if node in tx.nodes:
                    self.nodes[node] = tx.nodes[node]
                    parent = node
                    while (parent := parent.rpartition("/")[0]) not in self.nodes:
                        self.nodes[parent] = b""
                elif node in self.nodes:
                    for name in [n for n in self.nodes if n == node or n.startswith(node + "/")]:
                        del self.nodes[name]
            self._fire(tx.changed, None, [n for n in before if n not in self.nodes])
        return request.op, b"OK\0"

    def _fire(self, nodes: list[str], tx: _Transaction | None, gone: Sequence[str] = ()) -> None:
        """Events for changed nodes; watches below a removed node hear of themselves."""
        if tx is not None:
            tx.changed += nodes
            return
        for node in nodes:
            for connection in self.connections:
                for path, token in connection.watches:
                    watched = connection.absolute(path)
                    if node == watched or node.startswith(watched + "/"):
                        told = path + node[len(watched) :]
                    elif watched in gone and watched.startswith(node + "/"):
                        told = path
                    else:
                        continue
                    connection.on_event(f"{told}\0{token}\0".encode())
