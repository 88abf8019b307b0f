"""What goes into the journal, and when.  Pure: the bytes go to whoever takes them.

The rule is one: **nothing leaves the store before the change that it speaks of is recorded.**  All
that happens between two outputs (changes of the tree, of watches and domains, the requests taken
from rings, the replies and events queued for them) is one frame, which is recorded by
:meth:`Recorder.commit` just before bytes go to a ring or a socket, and at the end of every turn of
the daemon's loop.  A store without a journal calls a function that does nothing.

For a ring the frame also says where in its two byte streams it stands: how far requests were
consumed, what of an incomplete request was kept, and the bytes that are on their way out with the
position they begin at.  The page's own index tells how many of those the domain has been given.
So a request is neither lost nor done twice, whichever instruction was the last one:

    killed before the frame    the page's ``req_cons`` was not moved: the request is read again,
                               and nothing of it had been done
    killed behind the frame    ``req_cons`` is moved to where the frame says; the reply and every
                               event continue at the byte that the page's ``rsp_prod`` names

A socket has no such page: its client finds the connection closed.  What the records say is in
``records``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Final, Protocol

from hvsim.wire.packing import packer
from hvsim.xenstore.rules.records import DOMAINS, GENERATION, LIFE, PUT, WATCH, Record
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store


class Stream(Protocol):
    """A ring's two streams of bytes.

    Attributes:
        session: whose.
        lost: they are not to go on: the connection was given up.
    """

    session: Session

    @property
    def lost(self) -> bool: ...

    def record(self, whole: bool = False) -> Record:
        """Where they stand now, and what output was added since the last time (all of it, with
        *whole*)."""


class Recorder:
    """Collects what happens in *store* and hands each frame's payload to *sink*.

    Attributes:
        streams: of every ring.
        moved: those that have moved since the last frame.
    """

    def __init__(self, store: Store, sink: Callable[[bytes], None]) -> None:
        self.streams: dict[Stream, None] = {}
        self.moved: dict[Stream, None] = {}
        self._store = store
        self._sink = sink
        self._records: list[Record] = []
        self._pack: Final[Callable[[object], bytes]] = packer()
        self._administration = store.administration
        store.tree.log = self._records.append
        store.watches.log = self._records.append
        store.before_output = self.commit

    def commit(self) -> None:
        """Record all that has happened since the last call."""
        records = self._records
        store = self._store
        if store.administration != self._administration:
            self._administration = store.administration
            records.append(domains(store))
        if self.moved:
            records += [stream.record() for stream in self.moved if not stream.lost]
            self.moved.clear()
        if records:
            payload = self._pack(records)
            records.clear()
            self._sink(payload)

    def snapshot(self) -> bytes:
        """Payload of a frame that stands for everything up to now; what waits to be recorded is
        in it."""
        self._records.clear()
        self.moved.clear()
        self._administration = self._store.administration
        streams = [stream for stream in self.streams if not stream.lost]
        return self._pack(list(everything(self._store, streams)))


def domains(store: Store) -> Record:
    """The record of what the store knows of domains, and of its settings."""
    return (
        DOMAINS,
        [
            (domain.domid, domain.port, domain.shutdown, domain.target)
            for domain in store.domains.values()
        ],
        sorted(store.known),
        list(store.special.items()),
        asdict(store.limits),
    )


def everything(store: Store, streams: Sequence[Stream]) -> Iterator[Record]:
    """The records that make an empty store into *store*, whose rings have *streams*."""
    tree = store.tree
    yield LIFE, store.life
    yield GENERATION, tree.generation
    for path in tree.walk(b"/"):
        node = tree.nodes[path]
        yield PUT, path, node.value, node.perms
    yield domains(store)
    watches = [watch for stream in streams for watch in stream.session.watches.values()]
    for watch in sorted(watches, key=lambda watch: watch.serial):
        yield WATCH, watch.owner.domid, watch.path, watch.prefix, watch.token
    for stream in streams:
        yield stream.record(whole=True)
