"""From the journal back to a store: what ``recorder`` wrote, applied in order.  Pure.

What comes back: every node with its value, permissions and the order of its parent's children;
what each domain owns (counted anew from the nodes); the domains that were introduced, their rights
and whether their end was told; limits; of every ring its watches in their order and its two byte
streams.  A transaction that was open comes back as one that can only end in EAGAIN.  Socket
clients do not come back: they connect again and watch again, and each watch fires for that.

An event that a ring was owed is in its stream, because it was recorded in the same frame as the
change: none is missed, and none comes twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from hvsim.wire.packing import unpack
from hvsim.wire.typed import read
from hvsim.xenstore.rules import records
from hvsim.xenstore.rules.permissions import Permissions
from hvsim.xenstore.rules.quota import Limits
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Domain, Store

_U32: Final = 0xFFFFFFFF


class JournalError(Exception):
    """A whole frame that makes no sense: it was written by another version of this program."""


@dataclass(slots=True)
class Stream:
    """Where a ring stood.

    Attributes:
        before, after: the page's ``req_cons`` is one of these; *after* is where to go on.
        kept: the part of a request that was taken and not complete.
        out: output; *start* is the position of its first byte.
        transactions: ids of the open ones.
    """

    before: int = 0
    after: int = 0
    kept: bytes = b""
    start: int = 0
    out: bytearray = field(default_factory=bytearray)
    transactions: tuple[int, ...] = ()

    def add(self, moved: records.Moved) -> None:
        """Apply one record."""
        self.before, self.after, self.kept = moved.before, moved.after, moved.kept
        self.transactions = moved.transactions
        if moved.position == (self.start + len(self.out)) & _U32:
            self.out += moved.out
        else:  # the guest began its ring anew
            self.start, self.out = moved.position, bytearray(moved.out)
        gone = (moved.start - self.start) & _U32
        if gone <= len(self.out):
            del self.out[:gone]
            self.start = moved.start

    def unsent(self, produced: int) -> bytes:
        """What the domain was not given yet, when its page says *produced*."""
        gone = (produced - self.start) & _U32
        return bytes(self.out[gone:]) if gone <= len(self.out) else b""


class Recovery:
    """A store as the journal has it.

    Attributes:
        store: the store; its rings are to be connected.
        streams: by domid, of every ring that has been used.
        watches: (domid, path, token) to prefix, in order of registration.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.streams: dict[int, Stream] = {}
        self.watches: dict[tuple[int, bytes, bytes], int] = {}
        self._perms: dict[Permissions, Permissions] = {}
        for name in list(store.tree.nodes[b"/"].children.names):
            store.tree.remove(b"/" + name)

    def replay(self, payloads: Iterable[bytes]) -> None:
        """Apply frames.  Raises JournalError."""
        for payload in payloads:
            try:
                for record in unpack(payload, use_list=False, strict_map_key=False):
                    self._apply(record)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                raise JournalError(f"the journal cannot be read: {error!r}") from error

    def attach(self, session: Session) -> None:
        """Give a ring's session its watches back."""
        for (domid, path, token), prefix in self.watches.items():
            if domid == session.domid:
                session.add_watch(path, prefix, token)

    def _apply(self, record: records.Record) -> None:
        kind, *rest = record
        tree = self.store.tree
        if kind == records.PUT:
            put = read(records.Put, rest)
            tree.put(put.path, put.value, self._permissions(put.perms))
        elif kind == records.REMOVE:
            (path,) = read(tuple[bytes], rest)
            tree.remove(path)
        elif kind == records.STREAM:
            moved = read(records.Moved, rest)
            self.streams.setdefault(moved.domid, Stream(start=moved.position)).add(moved)
        elif kind == records.WATCH:
            watch = read(records.Watched, rest)
            self.watches[watch.domid, watch.path, watch.token] = watch.prefix
        elif kind == records.UNWATCH:
            del self.watches[read(records.Unwatched, rest)]
        elif kind == records.DOMAINS:
            self._domains(read(records.Domains, rest))
        elif kind == records.LIFE:
            (life,) = read(tuple[int], rest)
            self.store.life = life + 1
        elif kind == records.GENERATION:
            (generation,) = read(tuple[int], rest)
            tree.generation = max(tree.generation, generation)
        else:
            raise ValueError(f"a record of kind {kind}")

    def _domains(self, told: records.Domains) -> None:
        store = self.store
        store.domains.clear()
        for domid, port, shutdown, target in told.domains:
            domain = store.domains[domid] = Domain(domid)
            domain.port, domain.shutdown, domain.target = port, shutdown, target
        store.known = set(told.known)
        store.special.update({path: self._permissions(perms) for path, perms in told.special})
        names = {entry.name for entry in fields(Limits)}
        store.limits = Limits(
            **{name: value for name, value in told.limits.items() if name in names}
        )
        for domid in self.streams.keys() - store.domains.keys():
            del self.streams[domid]
        for key in [key for key in self.watches if key[0] not in store.domains]:
            del self.watches[key]

    def _permissions(self, perms: Permissions) -> Permissions:
        """Equal permissions are one object, as they were."""
        return self._perms.setdefault(perms, perms)
