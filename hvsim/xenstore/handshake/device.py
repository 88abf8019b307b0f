"""What is kept of one device: where its halves are, and what happened to them.  It is bounded."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.state import Half
from hvsim.xenstore.handshake.rules import Pair

MAX_RECORDS: Final = 128
"""Records kept for each device; the oldest go."""
MAX_KEYS: Final = 16
"""Keys noted in one record; more are counted."""
MAX_TEXT: Final = 40
"""Characters kept of a key's name and of a value."""


class Device:
    """One device: where its halves are, and what happened to them."""

    def __init__(self, name: str, kind: str, frontend: str, unseen: XenbusState | None) -> None:
        self.name = name
        self.kind = kind
        self.paths = {Half.FRONTEND: frontend, Half.BACKEND: ""}
        self.owners = {Half.FRONTEND: int(name.split("/", 1)[0]), Half.BACKEND: -1}
        self.backend_kind = kind
        self.states: dict[Half, XenbusState | None] = dict.fromkeys(Half, unseen)
        self.names: dict[str, str] = {}
        self.records: deque[dict[str, Any]] = deque(maxlen=MAX_RECORDS)
        self.seq = 0
        self.breaches = 0

    @property
    def pair(self) -> Pair:
        """The device as the rules see it."""
        return Pair(
            self.kind, self.backend_kind, self.owners[Half.FRONTEND], self.owners[Half.BACKEND]
        )

    @property
    def gone(self) -> bool:
        """Neither half exists."""
        return not any(self.states.values())

    def summary(self) -> dict[str, Any]:
        """One line of the list of devices."""
        return {
            "device": self.name,
            "kind": self.kind,
            "names": self.names,
            "gone": self.gone,
            **{
                half.value: {
                    "domid": self.owners[half],
                    "path": self.paths[half],
                    "state": self.states[half],
                }
                for half in Half
            },
            "records": self.seq,
            "kept": len(self.records),
            "breaches": self.breaches,
        }


def shown(value: bytes, limit: int = MAX_TEXT) -> str:
    """A value as it is kept: printable, and no longer than *limit*."""
    text = value[: limit + 1].decode("ascii", "backslashreplace")
    shown = "".join(char if char.isprintable() else "." for char in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
