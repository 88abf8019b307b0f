"""Ports and views of shared pages that a half of a device holds until it gives all of them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hvsim.domain.seams import PORT

if TYPE_CHECKING:
    from hvsim.domain import Domain


class Held:
    """Empty at first."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._ports: list[int] = []
        self._views: list[Callable[[], None]] = []

    def port(self, port: int) -> int:
        """An event channel of ours, *port*, is closed at the end."""
        self._ports.append(port)
        return port

    def view(self, release: Callable[[], None]) -> None:
        """*release* is called at the end, when the ports are closed."""
        self._views.append(release)

    def close(self) -> None:
        """Give up what there is, in the order in which it came: ports, then views.  Idempotent."""
        ports, self._ports = self._ports, []
        for port in ports:
            self._dom.seams.let_go(PORT, port)
            self._dom.events.close(port)
        views, self._views = self._views, []
        for release in views:
            release()
