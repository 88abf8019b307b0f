"""The toolstack's dice: pure, what it draws follows from what it was made with."""

import hashlib
import uuid
from collections.abc import Iterable


class Dice:
    """Draws bytes.

    Args:
        seed: all that they follow from.  The lab's own seed alone would let a toolstack that comes
            after this one draw the same again; the time of its start is what tells the two apart.
    """

    def __init__(self, seed: Iterable[object]) -> None:
        self._seed = repr(tuple(seed)).encode()
        self._drawn = 0

    def draw(self, count: int) -> bytes:
        """That many."""
        found = b""
        while len(found) < count:
            self._drawn += 1
            found += hashlib.sha256(self._seed + self._drawn.to_bytes(8, "big")).digest()
        return found[:count]

    def uuid(self) -> str:
        """A uuid of the random kind (RFC 4122, version 4)."""
        return str(uuid.UUID(bytes=self.draw(16), version=4))
