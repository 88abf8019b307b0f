"""Waiting, as a program of a guest does it, until a device of its own is at work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from hvsim.errors import TimedOut

if TYPE_CHECKING:
    from hvsim.domain import Domain


class Awaited(Protocol):
    """What a program waits for."""

    @property
    def connected(self) -> bool:
        """Whether it is at work."""

    @property
    def dead(self) -> object:
        """Why it never will be; None while it may."""


D = TypeVar("D", bound=Awaited)


def connected(dom: Domain, kind: str, number: int, found: Mapping[int, D], timeout: float) -> D:
    """Device *number* of *found*, once it is Connected, or dead.

    Raises: TimedOut after *timeout* seconds, which says what state either half was in.
    """

    def ready() -> bool:
        device = found.get(number)
        return device is not None and (device.connected or device.dead is not None)

    what = f"{kind} {number} to connect"
    try:
        dom.wait(ready, timeout, what)
    except TimedOut as late:
        known = dom.frontends.devices.get(f"device/{kind}/{number}")
        state = "no such device in the store" if known is None else repr(known)
        raise TimedOut(f"{what}: {state}", late.seconds) from None
    return found[number]
