"""Figures of one direction of a queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Direction:
    """Frames that passed, and those that did not, by the reason.

    Attributes:
        packets, bytes: what passed.
        drops: reason -> frames that nobody is to blame for: a full link, no link.
        errors: reason -> frames that the other half got wrong.
    """

    __slots__ = ("bytes", "drops", "errors", "packets")

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self.drops: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    def count(self, size: int) -> None:
        """A frame of so many bytes passed."""
        self.packets += 1
        self.bytes += size

    def drop(self, why: str) -> None:
        """A frame was dropped."""
        self.drops[why] = self.drops.get(why, 0) + 1

    def error(self, why: str) -> None:
        """A frame made no sense."""
        self.errors[why] = self.errors.get(why, 0) + 1


def figures(tx: Iterable[Direction], rx: Iterable[Direction]) -> Mapping[str, int]:
    """All queues together, in the words of Linux' network statistics; drops and errors also by
    their reason (``tx_drop_link_full``)."""
    found: dict[str, int] = {}
    for word, directions in (("rx", list(rx)), ("tx", list(tx))):
        found[f"{word}_packets"] = sum(one.packets for one in directions)
        found[f"{word}_bytes"] = sum(one.bytes for one in directions)
        found[f"{word}_dropped"] = sum(sum(one.drops.values()) for one in directions)
        found[f"{word}_errors"] = sum(sum(one.errors.values()) for one in directions)
        for one in directions:
            for kind, reasons in (("drop", one.drops), ("error", one.errors)):
                for why, number in reasons.items():
                    key = f"{word}_{kind}_{why}"
                    found[key] = found.get(key, 0) + number
    return found
