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
from typing import Any, Final

from hvsim.wire.packing import unpack
from hvsim.xenstore.rules import records
from hvsim.xenstore.rules.permissions import Entry, Permissions
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

    def add(
        self,
        before: int,
        after: int,
        kept: bytes,
        start: int,
        position: int,
        out: bytes,
        transactions: Iterable[int],
    ) -> None:
        """Apply one record."""
        self.before, self.after, self.kept = before, after, kept
        self.transactions = tuple(transactions)
        if position == (self.start + len(self.out)) & _U32:
            self.out += out
        else:  # the guest began its ring anew
            self.start, self.out = position, bytearray(out)
        gone = (start - self.start) & _U32
        if gone <= len(self.out):
            del self.out[:gone]
            self.start = start

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

    def _apply(self, record: tuple[Any, ...]) -> None:
        kind, *rest = record
        tree = self.store.tree
        if kind == records.PUT:
            path, value, perms = rest
            tree.put(path, value, self._permissions(perms))
        elif kind == records.REMOVE:
            tree.remove(rest[0])
        elif kind == records.STREAM:
            domid, *stream = rest
            self.streams.setdefault(domid, Stream(start=stream[4])).add(*stream)
        elif kind == records.WATCH:
            domid, path, prefix, token = rest
            self.watches[domid, path, token] = prefix
        elif kind == records.UNWATCH:
            del self.watches[tuple(rest)]
        elif kind == records.DOMAINS:
            self._domains(*rest)
        elif kind == records.LIFE:
            self.store.life = rest[0] + 1
        elif kind == records.GENERATION:
            tree.generation = max(tree.generation, rest[0])
        else:
            raise ValueError(f"a record of kind {kind}")

    def _domains(self, domains: Any, known: Any, special: Any, limits: dict[str, Any]) -> None:
        store = self.store
        store.domains.clear()
        for domid, port, shutdown, target in domains:
            domain = store.domains[domid] = Domain(domid)
            domain.port, domain.shutdown, domain.target = port, shutdown, target
        store.known = set(known)
        store.special.update({path: self._permissions(perms) for path, perms in special})
        names = {entry.name for entry in fields(Limits)}
        store.limits = Limits(**{name: value for name, value in limits.items() if name in names})
        for domid in self.streams.keys() - store.domains.keys():
            del self.streams[domid]
        for key in [key for key in self.watches if key[0] not in store.domains]:
            del self.watches[key]

    def _permissions(self, raw: Any) -> Permissions:
        """Equal permissions are one object, as they were."""
        perms = tuple(Entry(*entry) for entry in raw)
        return self._perms.setdefault(perms, perms)
