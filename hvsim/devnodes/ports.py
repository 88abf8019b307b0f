"""The ports that a program has bound, and those that an unmap notification keeps open.

Source: ``evtchn_get`` and ``evtchn_put`` of Linux drivers/xen/events/events_base.c.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from hvsim.domain.hypercall import HypercallError

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain


class Ports:
    """Which ports are open for programs, and how many hold each."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._holders: dict[int, int] = {}

    def bound(self, port: int) -> None:
        """A file has bound a port."""
        self._holders[port] = 1

    def hold(self, port: int) -> None:
        """Keep a port open.  Raises OSError(EINVAL) for one that no file has bound."""
        if port not in self._holders:
            raise OSError(errno.EINVAL, f"port {port} is not bound by a program")
        self._holders[port] += 1

    def let_go(self, port: int) -> None:
        """One less; the last one closes it."""
        self._holders[port] -= 1
        if not self._holders[port]:
            del self._holders[port]
            try:
                self._dom.events.close(port)
            except HypercallError as error:
                self._dom.log(f"evtchn: closing port {port}: {error}")

    def ring(self, port: int) -> None:
        """Send the event of a notification."""
        try:
            self._dom.events.notify(port)
        except HypercallError as error:
            self._dom.log(f"evtchn: notifying port {port}: {error}")
