"""Of whom and of what a rule is, in the words of the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from hvsim.domain.xenbus.state import Half
from hvsim.xenstore.handshake.places import locate
from hvsim.xenstore.rules import paths
from hvsim.xenstore.rules.session import Session

if TYPE_CHECKING:
    from hvsim.xenstore.handshake.places import Place
    from hvsim.xenstore.rules.store import Store

HALVES: Final = {"front": Half.FRONTEND, "back": Half.BACKEND}


class Who:
    """A domain, in each of its lives: each has a number of its own, and the handle in ``vm``.

    Args:
        setting: ``{name, handle}`` of a rule.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        handle = UUID(setting["handle"])
        self.name: Final = str(setting["name"])
        self._vm = b"/vm/%s" % str(handle).encode()
        self._dom0 = not handle.int

    @property
    def limited(self) -> bool:
        """Whether it has quotas."""
        return not self._dom0

    def is_(self, store: Store, domid: int) -> bool:
        """Whether that is the number of its life of now."""
        if self._dom0 or not domid:
            return self._dom0 and not domid
        node = store.tree.nodes.get(b"/local/domain/%d/vm" % domid)
        return node is not None and node.value.lower() == self._vm

    def domid(self, store: Store) -> int | None:
        """Its number of now; None while it does not live."""
        if self._dom0:
            return 0
        return next((domid for domid in reversed(store.domains) if self.is_(store, domid)), None)


class Device:
    """A device, in each of its lives.

    Args:
        setting: ``{name, handle, type, devid}`` of a rule.
    """

    def __init__(self, setting: Mapping[str, Any]) -> None:
        self.name: Final = str(setting["name"])
        self.front: Final = Who(setting)
        self._type = str(setting["type"])
        self._devid = str(setting["devid"])

    def place(self, store: Store, path: bytes) -> Place | None:
        """What of the device is at *path*; None when that is no node of one of its halves."""
        place = locate(path)
        if place is None or place.error or (place.kind, place.devid) != (self._type, self._devid):
            return None
        return place if self.front.is_(store, place.frontend_domid) else None

    def state_path(self, store: Store, half: Half) -> bytes | None:
        """Where the state of a half of it is; None while it is not there."""
        domid = self.front.domid(store)
        if domid is None:
            return None
        nodes = store.tree.nodes
        there = b"%s/device/%s/%s" % (
            paths.home(domid),
            self._type.encode(),
            self._devid.encode(),
        )
        if half is Half.BACKEND:
            node = nodes.get(there + b"/backend")
            if node is None:
                return None
            there = node.value  # as its guest says: it may be anything
        path = there + b"/state"
        place = self.place(store, path)
        return path if path in nodes and place is not None and place.half is half else None


class Below:
    """A node, and all below it.

    Args:
        text: its path; one that does not begin with / or @ is relative to a domain's home.
    """

    def __init__(self, text: str) -> None:
        self._path = text.encode()
        self._absolute = self._path[:1] in b"/@"

    @property
    def absolute(self) -> bool:
        """Whether it says by itself where it is."""
        return self._absolute

    def of(self, domid: int) -> bytes:
        """The path itself, where *domid* is at home."""
        return self._path if self._absolute else b"%s/%s" % (paths.home(domid), self._path)

    def has(self, path: bytes, domid: int) -> bool:
        """Whether *path* is it or below it."""
        above = self.of(domid)
        return path == above or path.startswith(above + b"/")


@contextmanager
def acting(store: Store, domid: int, label: str = "") -> Iterator[Session]:
    """A session that has the rights of *domid*, for requests that nobody has made."""
    tree = store.tree
    actor, tree.actor = tree.actor, domid
    session = Session(store, domid, f"d{domid}", label)
    try:
        yield session
    finally:
        session.close()
        tree.actor = actor
