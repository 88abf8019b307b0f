"""Which paths of the store belong to a device, and to which half of it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from hvsim.domain.xenbus.state import Half

concerns: Final = re.compile(rb"/local/domain/\d+/(?:error/)?(?:device|backend)/").match
"""Whether a path may be one of a device: the one look that every other path costs."""
_SPLIT: Final = re.compile(
    rb"/local/domain/(\d{1,5})/(error/)?"
    rb"(?:device/([^/]{1,24})/(\d{1,10})|backend/([^/]{1,24})/(\d{1,5})/(\d{1,10}))(?:/(.+))?"
).fullmatch
above: Final = re.compile(
    rb"/local(?:/domain(?:/\d{1,5}(?:/device(?:/[^/]+)?|/backend(?:/[^/]+(?:/\d{1,5})?)?)?)?)?"
).fullmatch
"""Whether a path may have devices below it."""
_KINDS: Final = {"qdisk": "vbd", "vbd3": "vbd", "tap": "vbd"}
"""Backend types whose frontend is of another class."""
_IGNORED: Final = frozenset({"console", "suspend"})
"""What lies in the same places and has no handshake: xenconsoled never looks at a state."""


class Place(NamedTuple):
    """A path that belongs to a device: which half, whose, and the key below its directory; with
    ``error``, below the directory of the half's error messages."""

    half: Half
    owner: int
    frontend_domid: int
    kind: str
    backend_kind: str
    devid: str
    key: str
    error: bool

    @property
    def device(self) -> str:
        """Name of the device: frontend's domid, class, number."""
        return f"{self.frontend_domid}/{self.kind}/{self.devid}"


def locate(path: bytes) -> Place | None:
    """The device that *path* belongs to; None for every other path."""
    match = _SPLIT(path)
    if match is None:
        return None
    owner, error, kind, devid, back_kind, front, back_devid, key = match.groups()
    leaf = key.decode("ascii") if key else ""
    if kind is not None:
        name = kind.decode("ascii")
        place = Place(
            Half.FRONTEND,
            int(owner),
            int(owner),
            name,
            name,
            devid.decode(),
            leaf,
            error is not None,
        )
    else:
        name = back_kind.decode("ascii")
        place = Place(
            Half.BACKEND,
            int(owner),
            int(front),
            _KINDS.get(name, name),
            name,
            back_devid.decode(),
            leaf,
            error is not None,
        )
    return None if place.kind in _IGNORED else place
