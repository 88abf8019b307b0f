"""Faults of the answers of a backend: never, twice, to nobody, of another kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from hvsim.abi.blkif import BLKIF_OP_READ, BLKIF_OP_WRITE
from hvsim.domain.ring import RingFull
from hvsim.faults.inject.half import Half, before
from hvsim.faults.inject.rings import seam_of

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault

ID_BYTES: Final = {"vbd": 8, "vif": 2}
"""Of the id that an answer begins with, by the type of the device."""
OPERATION_AT: Final = 8
"""Of the answer of a vbd (blkif_response_t)."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* before every ring that it is about.  Raises: ValueError."""
    settings = fault.settings
    answer, kind = str(settings["answer"]), str(settings.get("type"))
    if answer == "unknown" and kind not in ID_BYTES:
        raise ValueError(f"{kind}: its answers have no id")
    if answer == "unknown" and settings.get("which") == "rx":
        raise ValueError("answers on an RX ring are known by their place, not by their id")
    if answer == "wrong-op" and kind != "vbd":
        raise ValueError(f"{kind}: its answers name no operation")
    return before(fault, seam_of(fault, "back"), KINDS[answer], front=False)


class Never(Half):
    """Keeps answers back, until the rule is taken away: at most as many as the ring has slots."""

    def __init__(self, ring: Any, fault: Fault, front: bool, restore: Callable[[], None]) -> None:
        super().__init__(ring, fault, front, restore)
        self._held: list[bytes] = []

    def produce(self, data: bytes) -> None:
        """As that of the ring, or nothing."""
        if len(self._held) < self.size and self.fault.fires():
            self._held.append(bytes(data))
            held = len(self._held)
            self.fault.told(f"{held} request{'' if held == 1 else 's'} without an answer")
        else:
            self.ring.produce(data)

    def mend(self) -> None:
        """Answer them."""
        held, self._held = self._held, []
        for data in held:
            with contextlib.suppress(RingFull):
                self.ring.produce(data)


class Twice(Half):
    """Gives the same answer once more: to the request behind it, or to none."""

    def __init__(self, ring: Any, fault: Fault, front: bool, restore: Callable[[], None]) -> None:
        super().__init__(ring, fault, front, restore)
        self._again: list[bytes] = []

    def produce(self, data: bytes) -> None:
        """As that of the ring."""
        self.ring.produce(data)
        if self.fault.fires():
            self._again.append(bytes(data))

    def push(self) -> bool:
        """As that of the ring, with what is said again."""
        again, self._again = self._again, []
        for data in again:
            self.fault.told(f"answer {data[:8].hex()} given twice")
            if self.ring.consume() is not None:
                self.ring.produce(data)
            else:
                return self._beyond(data)
        return bool(self.ring.push())

    def _beyond(self, data: bytes) -> bool:
        """Nobody else has asked: an answer more than there were requests."""
        self.ring.push()
        with self.slot(self.produced) as slot:
            slot[: len(data)] = data
        self.publish(self.produced + 1)
        return True


class Unknown(Half):
    """Answers an id that nobody has."""

    def produce(self, data: bytes) -> None:
        """As that of the ring, with another id."""
        if self.fault.fires():
            size = ID_BYTES[str(self.fault.settings["type"])]
            # Frontends count theirs from 0: the upper half is far away.
            number = self.fault.dice.randrange(1 << (8 * size - 1), 1 << (8 * size))
            was = int.from_bytes(data[:size], "little")
            data = number.to_bytes(size, "little") + data[size:]
            self.fault.told(f"answer to id {was:#x} given to {number:#x}")
        self.ring.produce(data)


class WrongOperation(Half):
    """Answers a read as if it had been a write, and anything else as a read."""

    def produce(self, data: bytes) -> None:
        """As that of the ring, with another operation."""
        if self.fault.fires():
            was, answer = data[OPERATION_AT], bytearray(data)
            answer[OPERATION_AT] = BLKIF_OP_WRITE if was == BLKIF_OP_READ else BLKIF_OP_READ
            data = bytes(answer)
            self.fault.told(f"answer to operation {was} given as {answer[OPERATION_AT]}")
        self.ring.produce(data)


KINDS: Final[dict[str, type[Half]]] = {
    "never": Never,
    "twice": Twice,
    "unknown": Unknown,
    "wrong-op": WrongOperation,
}
