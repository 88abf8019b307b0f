"""Faults of a ring: indices that are warped, slots whose bytes change, and nobody who looks.

What a hostile or broken half does to the shared page, done to it by the half that the rule names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hvsim.domain.seams import BACK_RING, BACK_RX_RING, FRONT_RING, FRONT_RX_RING
from hvsim.faults.inject import forgetting
from hvsim.faults.inject.half import Half, before

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault

SEAMS: Final = {
    ("back", "tx"): BACK_RING,
    ("back", "rx"): BACK_RX_RING,
    ("front", "tx"): FRONT_RING,
    ("front", "rx"): FRONT_RX_RING,
}
BURST: Final = 255
"""Changes of a slot that flips, in one go; odd, so that it is another afterwards."""
TOGETHER: Final = 3
"""Goes without a pause; odd, so that it is another in each pause.  A peer that runs meanwhile sees
it change within a go; of one that runs in the pauses only, as in lockstep, some come between its
look that checks and its look that uses."""
PAUSE: Final = 20e-6, 200e-6
"""Seconds."""
FLIP_GOES: Final = 64
"""Goes for which a slot flips, at most."""
FLIPPING_MAX: Final = 8
"""Slots of a ring that flip at a time."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* before every ring that it is about.  Raises: ValueError."""
    half, kind = str(fault.settings.get("half", "back")), str(fault.settings["ring"])
    if kind == "forget":
        if half != "front":
            raise ValueError("ring=forget: it is the frontend that issues again: half=front")
        return forgetting.stand(fault, seam_of(fault, half))
    return before(fault, seam_of(fault, half), KINDS[kind], front=half == "front")


def seam_of(fault: Fault, half: str) -> str:
    """Where its ring passes.  Raises: ValueError."""
    which = fault.settings.get("which")
    if which is not None and fault.settings.get("type") != "vif":
        raise ValueError("which: only a vif has a TX and an RX ring")
    return SEAMS[half, str(which or "tx")]


class Warp(Half):
    """Publishes a producer index that is not ours."""

    _fresh = False

    def produce(self, data: bytes) -> None:
        """As that of the ring."""
        self.ring.produce(data)
        self._fresh = True

    def push(self) -> bool:
        """Publish, and then something else."""
        notify = bool(self.ring.push())
        fresh, self._fresh = self._fresh, False
        if not fresh or not self.fault.fires():
            return notify
        by = int(self.fault.settings.get("by", 1))
        self.publish(self.produced + by)
        self.fault.told(f"producer index {self.produced} published as {by:+d} from there")
        return True


class _Bytes(Half):
    """Changes bytes of slots."""

    def __init__(self, ring: Any, fault: Fault, front: bool, restore: Callable[[], None]) -> None:
        super().__init__(ring, fault, front, restore)
        size = int(self.true.slot_size)
        first, last = fault.settings.get("at", (0, size - 1))
        if first >= size:
            raise ValueError(f"at: a slot of this ring has {size} bytes")
        self.bytes: Final = slice(first, min(last + 1, size))

    def other(self, data: bytes) -> bytes:
        """As many bytes, each of them another."""
        return bytes(byte ^ self.fault.dice.randrange(1, 256) for byte in data)

    def which(self, index: int) -> str:
        """Bytes of a slot, for people."""
        return f"bytes {self.bytes.start} to {self.bytes.stop - 1} of slot {index % self.size}"


class Corrupt(_Bytes):
    """What was produced is not what will be published."""

    def produce(self, data: bytes) -> None:
        """As that of the ring, and then other bytes."""
        index = self.produced
        self.ring.produce(data)
        if self.fault.fires():
            with self.slot(index) as slot:
                slot[self.bytes] = self.other(bytes(slot[self.bytes]))
            self.fault.told(f"{self.which(index)} are others")


@dataclass(eq=False, slots=True)
class _Flipping:
    """A slot that does, with both of its faces."""

    index: int
    good: bytes
    bad: bytes
    goes: int = FLIP_GOES


class Flip(_Bytes):
    """What was published is now this and now that, until the peer has taken its place."""

    def __init__(self, ring: Any, fault: Fault, front: bool, restore: Callable[[], None]) -> None:
        super().__init__(ring, fault, front, restore)
        self._chosen: list[int] = []
        self._flipping: list[_Flipping] = []
        self._goes = 0
        self._goes_on = False

    def produce(self, data: bytes) -> None:
        """As that of the ring."""
        index = self.produced
        self.ring.produce(data)
        if self.fault.fires():
            self._chosen.append(index)

    def push(self) -> bool:
        """Publish, and go on writing."""
        notify = bool(self.ring.push())
        chosen, self._chosen = self._chosen, []
        for index in chosen:
            with self.slot(index) as slot:
                good = bytes(slot[self.bytes])
            one = _Flipping(index, good, self.other(good))
            self._flipping.append(one)
            self.fault.told(f"{self.which(index)} flip")
            self._flip(one, BURST - self.fault.dice.randrange(2))
        while len(self._flipping) > FLIPPING_MAX:
            self._settle(self._flipping.pop(0))
        self._go_on()
        return notify

    def mend(self) -> None:
        """Every slot is what it was published as."""
        flipping, self._flipping = self._flipping, []
        for one in flipping:
            self._settle(one)

    def _go_on(self) -> None:
        if self._goes_on or not self._flipping:
            return
        self._goes_on = True
        self._goes += 1
        pause = 0.0 if self._goes % TOGETHER else self.fault.dice.uniform(*PAUSE)
        self.fault.domain.vcpu.call_later(pause, self._go)

    def _go(self) -> None:
        self._goes_on = False
        if self.released:
            self._flipping.clear()
        self._flipping = [one for one in self._flipping if self._flip(one, BURST)]
        self._go_on()

    def _flip(self, one: _Flipping, changes: int) -> bool:
        """A go; whether there is to be another."""
        one.goes -= 1
        if not one.goes:
            self._settle(one)
            return False
        with self.slot(one.index) as slot, slot[self.bytes] as there:
            if there not in (one.good, one.bad):
                return False  # it is the peer's by now
            faces = (one.bad, one.good) if there == one.good else (one.good, one.bad)
            for number in range(changes):
                there[:] = faces[number & 1]
        return True

    def _settle(self, one: _Flipping) -> None:
        with self.slot(one.index) as slot, slot[self.bytes] as there:
            if there == one.bad:
                there[:] = one.good


class Stop(Half):
    """Looks at the ring and takes nothing.

    Between the slots of one packet it does not stop: an event is a look after anything else was
    done with the ring.
    """

    _looks = True
    _stopped = False

    def produce(self, data: bytes) -> None:
        """As that of the ring."""
        self._looks = True
        self.ring.produce(data)

    def push(self) -> bool:
        """As that of the ring."""
        self._looks = True
        return bool(self.ring.push())

    def consume(self) -> bytes | None:
        """As that of the ring, or nothing."""
        if self._looks:
            self._looks = False
            self._stopped = self.waiting() and self.fault.fires()
            if self._stopped:
                self.fault.told(f"{'answers' if self.front else 'requests'} not consumed")
                if self.fault.spent:
                    self.fault.domain.vcpu.call_later(0.0, self.restore)
        taken: bytes | None = None if self._stopped else self.ring.consume()
        if taken is None:
            self._looks = True
        return taken

    def final_check(self) -> bool:
        """As that of the ring; or nothing came, and the next bell is taken as well."""
        self._looks = True
        if not self._stopped:
            return bool(self.ring.final_check())
        self._stopped = False
        self.want_every_bell()
        return False


KINDS: Final[dict[str, type[Half]]] = {
    "warp": Warp,
    "corrupt": Corrupt,
    "flip": Flip,
    "stop": Stop,
}
