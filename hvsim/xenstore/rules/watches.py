"""Watches: which registration hears of which change.

A watch on a path hears of that node and of every node below.  Registration itself is one event.
When a directory is removed, watches on it and above hear of the directory once, and each watch on a
node below hears of that node.  A watcher hears only of what it may read: the node, or the node's
parent.  Source: docs/misc/xenstore.txt; ``fire_watches`` of xenstored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.records import UNWATCH, WATCH, Record


class Outlet(Protocol):
    """Where the events of a session go: its connection."""

    @property
    def outstanding(self) -> int:
        """Messages that the peer has not taken."""

    def send_event(self, payload: bytes) -> None:
        """Queue a watch event."""

    def closed(self) -> None:
        """The session has ended."""


class Watcher(Protocol):
    """Who hears of changes: a session.

    Attributes:
        domid, target: for whom it speaks.
        durable: its watches outlive the daemon.
    """

    domid: int
    target: int
    durable: bool
    outlet: Outlet


class Watch:
    """One registration.

    Attributes:
        owner: whose.
        path: absolute, or a special node.
        prefix: how many leading bytes of a path are left out of events (relative watch).
        token: repeated in each event.
        serial: order of registration.
    """

    __slots__ = ("owner", "path", "prefix", "serial", "token")

    def __init__(self, owner: Watcher, path: bytes, prefix: int, token: bytes, serial: int) -> None:
        self.owner = owner
        self.path = path
        self.prefix = prefix
        self.token = token
        self.serial = serial

    def event(self, path: bytes) -> bytes:
        """Payload of the XS_WATCH_EVENT for *path*."""
        return path[self.prefix :] + b"\0" + self.token + b"\0"


Deliver = Callable[[Watch, bytes], None]


def send(watch: Watch, path: bytes) -> None:
    """Tell the owner of *watch* that *path* changed."""
    watch.owner.outlet.send_event(watch.event(path))


_NONE: Final[list[Watch]] = []


class WatchTable:
    """All watches, found by path: a change costs its depth, not the number of watches.

    Attributes:
        log: told of every watch of a ring (``recorder``); None without a journal.
    """

    def __init__(self) -> None:
        self._by_path: dict[bytes, list[Watch]] = {}
        self._serial = 0
        self.log: Callable[[Record], object] | None = None

    def __len__(self) -> int:
        return sum(len(found) for found in self._by_path.values())

    def add(self, owner: Watcher, path: bytes, prefix: int, token: bytes) -> Watch:
        """Register a watch; the caller has checked that it is new."""
        self._serial += 1
        watch = Watch(owner, path, prefix, token, self._serial)
        self._by_path.setdefault(path, []).append(watch)
        if self.log is not None and owner.durable:
            self.log((WATCH, owner.domid, path, prefix, token))
        return watch

    def remove(self, watch: Watch) -> None:
        """Remove a watch."""
        found = self._by_path[watch.path]
        found.remove(watch)
        if not found:
            del self._by_path[watch.path]
        if self.log is not None and watch.owner.durable:
            self.log((UNWATCH, watch.owner.domid, watch.path, watch.token))

    def matching(self, path: bytes, exact: bool) -> list[Watch]:
        """The watches that a change of *path* concerns, in order of registration.

        With *exact* only those on *path* itself.
        """
        by_path = self._by_path
        if not by_path:
            return _NONE
        found = list(by_path.get(path, _NONE))
        if not exact and path != b"/":
            while True:
                path = paths.parent(path)
                more = by_path.get(path)
                if more is not None:
                    found += more
                if path == b"/":
                    break
        if len(found) > 1:
            found.sort(key=_serial)
        return found


def _serial(watch: Watch) -> int:
    return watch.serial
