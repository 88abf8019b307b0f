"""Where something may stand between a driver and what it uses: a ring, a medium, a link, a port;
or between the store and its clients.

A driver passes what it is about to use through the seam that is named after it.  Nothing stands
there in a domain without faults, and it gets back what it gave.  When that changes under a running
device, the driver is told, and passes the thing through once more.

    ring = dom.seams.through(BACK_RING, connection.ring, device)
    dom.seams.follow(BACK_RING, self._reseat)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

Layer = Callable[[Any, Any], Any]
"""Gets what a device (or the store) is about to use, and the device (or the store); returns what it
uses instead: something with the same methods, or the very thing."""

MEDIUM: Final = "medium"
"""What is behind a disk (``drivers/block/image.py``)."""
LINK: Final = "link"
"""What is behind an interface (``drivers/net/link.py``)."""
BACK_RING: Final = "back ring"
FRONT_RING: Final = "front ring"
"""A half of the ring of a device (``domain/ring.py``); of a vif, of its TX rings."""
BACK_RX_RING: Final = "back rx ring"
FRONT_RX_RING: Final = "front rx ring"
"""A half of an RX ring of a vif."""
PORT: Final = "port"
"""The local event channel (its number) of a device, which holds it until it is closed."""
STORE_OPERATIONS: Final = "store operations"
"""What carries a request of the store out (``xenstore/operations/table.py``)."""
STORE_EVENTS: Final = "store events"
"""What gives a watch its event (``xenstore/rules/watches.py``)."""


class Seams:
    """The seams of one domain."""

    def __init__(self) -> None:
        self._layers: dict[str, list[Layer]] = {}
        self._followers: dict[str, dict[Callable[[], None], None]] = {}
        self._held: dict[str, dict[Any, object]] = {}

    def through(self, seam: str, thing: T, user: object) -> T:
        """What *user*, a device or the store, is to use in the place of *thing*."""
        used: T = thing
        for layer in self._layers.get(seam, ()):
            used = layer(used, user)
        return used

    def hold(self, seam: str, thing: Any, device: object) -> None:
        """*device* has got *thing*, which nothing takes the place of: shown to whatever stands at
        the seam, now or later, until it is let go."""
        self._held.setdefault(seam, {})[thing] = device
        self.through(seam, thing, device)

    def let_go(self, seam: str, thing: Any) -> None:
        """It has it no more.  Idempotent."""
        held = self._held.get(seam)
        if held is not None:
            held.pop(thing, None)

    def follow(self, seam: str, changed: Callable[[], None]) -> None:
        """Call *changed* whenever something comes to stand at a seam, or goes."""
        self._followers.setdefault(seam, {})[changed] = None

    def unfollow(self, seam: str, changed: Callable[[], None]) -> None:
        """No more of that.  Idempotent."""
        followers = self._followers.get(seam)
        if followers is not None:
            followers.pop(changed, None)

    def insert(self, seam: str, layer: Layer) -> Callable[[], None]:
        """Put *layer* behind those that stand there, for all users; returns what takes it out.

        One that raises at a thing that is there does not stand.
        """
        self._layers.setdefault(seam, []).append(layer)

        def take_out() -> None:
            layers = self._layers.get(seam, [])
            if layer in layers:
                layers.remove(layer)
                self._changed(seam)

        try:
            for thing, device in list(self._held.get(seam, {}).items()):
                layer(thing, device)
            self._changed(seam)
        except BaseException:
            take_out()  # else every device that comes would meet it, and no rule to remove
            raise
        return take_out

    def again(self, seam: str) -> None:
        """Have every device pass its thing through once more: for a layer that gives another."""
        self._changed(seam)

    def _changed(self, seam: str) -> None:
        for changed in list(self._followers.get(seam, ())):
            changed()
