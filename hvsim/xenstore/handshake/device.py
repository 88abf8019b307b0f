"""What is kept of one device: where its halves are, and what happened to them.  It is bounded."""

from __future__ import annotations

from collections import deque
from typing import Final, Required, TypedDict

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.state import Half
from hvsim.xenstore.handshake.rules import Pair

MAX_RECORDS: Final = 128
"""Records kept for each device; the oldest go."""
MAX_KEYS: Final = 16
"""Keys noted in one record; more are counted."""
MAX_TEXT: Final = 40
"""Characters kept of a key's name and of a value."""


class BreachRow(TypedDict):
    """A rule that was broken: its name and text, how it was broken, and where it is from."""

    rule: str
    what: str
    text: str
    source: str


class More(TypedDict, total=False):
    """What a record says beside, by its kind."""

    old: int | None
    new: int
    value: str
    keys: dict[str, str]
    more: int
    key: str
    path: str
    text: str


class Record(More):
    """What happened to a half: ``kind`` is state, keys, refused, removed, early-read or error."""

    seq: Required[int]
    mono: Required[float]
    half: Required[str]
    owner: Required[int]
    kind: Required[str]
    writer: Required[str]
    domid: Required[int]
    breaches: Required[list[BreachRow]]


class HalfRow(TypedDict):
    """One end of a device."""

    domid: int
    path: str
    state: XenbusState | None


class DeviceRow(TypedDict):
    """One line of the list of devices: how many records there were, how many are kept."""

    device: str
    kind: str
    names: dict[str, str]
    gone: bool
    frontend: HalfRow
    backend: HalfRow
    records: int
    kept: int
    breaches: int


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
        self.records: deque[Record] = deque(maxlen=MAX_RECORDS)
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

    def summary(self) -> DeviceRow:
        """One line of the list of devices."""
        return {
            "device": self.name,
            "kind": self.kind,
            "names": self.names,
            "gone": self.gone,
            "frontend": self._half(Half.FRONTEND),
            "backend": self._half(Half.BACKEND),
            "records": self.seq,
            "kept": len(self.records),
            "breaches": self.breaches,
        }

    def _half(self, half: Half) -> HalfRow:
        return {
            "domid": self.owners[half],
            "path": self.paths[half],
            "state": self.states[half],
        }


def shown(value: bytes, limit: int = MAX_TEXT) -> str:
    """A value as it is kept: printable, and no longer than *limit*."""
    text = value[: limit + 1].decode("ascii", "backslashreplace")
    shown = "".join(char if char.isprintable() else "." for char in text)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."
