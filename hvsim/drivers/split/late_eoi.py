"""Late EOI: a peer that rings without work is listened to less and less often (XSA-332, XSA-391).

An event that finds nothing on the rings costs its receiver a turn of its loop. Some are honest: the
work was done already when the bell was heard. Many in a row are not, and each time the port is
masked for longer, at most a second, as Linux does it (``xen_irq_lateeoi`` with
``XEN_EOI_FLAG_SPURIOUS``); what was rung meanwhile is looked at afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hvsim.domain import Domain

SPURIOUS_ALLOWED: Final = 64
"""Events without work in a row before the port is held back for a while."""
SPURIOUS_DELAYS: Final = (0.004, 0.016, 0.064, 0.25, 1.0)
"""Seconds it is held back, each time longer."""


class LateEoi:
    """Of one port.

    Args:
        look: called when the port is listened to again.

    Attributes:
        held: how often in a row it was held back.
    """

    def __init__(self, dom: Domain, port: int, look: Callable[[], None]) -> None:
        self.held = 0
        self._dom = dom
        self._port = port
        self._look = look
        self._spurious = 0
        self._closed = False

    def end(self, worked: bool) -> None:
        """An event was handled; `worked` says whether there was something to do."""
        if worked:
            self._spurious = self.held = 0
            return
        self._spurious += 1
        if self._spurious > SPURIOUS_ALLOWED:
            self._hold_back()

    def close(self) -> None:
        """The port is about to be closed."""
        self._closed = True

    def _hold_back(self) -> None:
        delay = SPURIOUS_DELAYS[min(self.held, len(SPURIOUS_DELAYS) - 1)]
        self.held += 1
        self._spurious = 0
        self._dom.events.mask(self._port)
        self._dom.vcpu.call_later(delay, self._listen)

    def _listen(self) -> None:
        if not self._closed:
            self._dom.events.unmask(self._port)
            self._look()
