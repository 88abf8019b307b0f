"""What a bad wire does to the frames that go one way: loses them, holds them up, twists them.

Pure: the time, the dice and who decides whether a fault fires are handed in.  A `Stage` is one rule
on one way; a `Shaper` is all that stand there, each behind the other.  A frame is its bytes behind
its virtio_net_hdr.  What is held is bounded; what comes on top is lost, as in any queue.

No stage makes a frame overtake another of those that it is about, but where that is its fault
(``reorder``): a frame that is held up holds up those behind it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.drivers.net.offload import VNET
from hvsim.faults.inject.twist import twisted

if TYPE_CHECKING:
    from hvsim.domain.dice import Dice

MAX_FRAMES: Final = 1000
"""Frames that a stage holds, as many as a link (``drivers/net/link.py``)."""
MAX_BYTES: Final = 16 << 20
REORDER_WAIT: Final = 0.1
"""Seconds that a frame waits for one to overtake it."""
BURST: Final = 0.01
"""Seconds that a rate may be saved up for."""
RATE_QUEUE: Final = 0.25
"""Seconds that frames of a rate queue up for; at least two of the largest."""
_TWO_LARGEST: Final = 2 << 16
_FULL_FRAME: Final = 1514


@dataclass(frozen=True)
class Terms:
    """What a wire does.

    Attributes:
        gone: every frame is lost.
        drop, duplicate, corrupt, reorder: shares of them.
        delay: seconds, least and most.
        rate: bits a second; 0 for no limit.
    """

    gone: bool = False
    drop: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)
    rate: float = 0.0


class Stage:
    """One rule, on one way.

    Args:
        fires: told whether anything would happen to the next frame, says whether it does.
        told: told what has happened to one.
        wanted: which frames it is about.
    """

    def __init__(
        self,
        terms: Terms,
        dice: Dice,
        fires: Callable[[bool], bool],
        told: Callable[[str], None],
        wanted: Callable[[bytes], bool] = lambda frame: True,
    ) -> None:
        self._terms = terms
        self._dice = dice
        self._fires = fires
        self._told = told
        self._wanted = wanted
        self._queue: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._bytes = 0
        self._behind = 0.0  # nothing that comes now is due before that
        self._paid_until = 0.0  # of the rate
        self._overtaken: list[bytes] = []
        self._patience = 0.0

    def __len__(self) -> int:
        return len(self._queue) + len(self._overtaken)

    @property
    def deadline(self) -> float | None:
        """When the next frame is due; None when none is held."""
        due = [self._queue[0][0]] if self._queue else []
        if self._overtaken:
            due.append(self._patience)
        return min(due, default=None)

    def put(self, frame: bytes, now: float) -> None:
        """A frame that has come."""
        if not self._wanted(frame):
            self._enter(frame, now)
            return
        terms, size = self._terms, len(frame) - VNET.size
        hits = {name for name in ("drop", "duplicate", "corrupt", "reorder") if self._hits(name)}
        wait = self._wait()
        start = self._start(size, now + wait)
        if not self._fires(bool(terms.gone or hits or wait or start > now + wait)):
            self._pay(size, now)
            if not self._queued(frame, max(now, self._behind)):
                self._told(f"{size} bytes: lost, too many are held")
            return
        what = f"{size} bytes"
        if terms.gone or "drop" in hits:
            self._told(f"{what}: lost")
            return
        if terms.rate and start - now - wait > max(RATE_QUEUE, _TWO_LARGEST * 8 / terms.rate):
            self._told(f"{what}: lost, too many wait for the rate")
            return
        self._pay(size, now + wait)
        if "corrupt" in hits:
            frame, said = twisted(frame, self._dice)
            what += f", {said}"
        if "duplicate" in hits:
            what += ", twice"
        frames = [frame] * (2 if "duplicate" in hits else 1)
        due = max(start, self._behind)
        if due > now:
            what += f", {(due - now) * 1000:g} ms late"
        if "reorder" in hits and not self._overtaken:
            self._overtaken, self._patience = frames, due + REORDER_WAIT
            self._told(f"{what}, behind the next")
            return
        held = [self._queued(one, due) for one in frames]
        if not all(held):
            what = f"{what}: lost, too many are held" if not any(held) else f"{what}: one is lost"
        self._told(what)

    def take(self, now: float) -> list[bytes]:
        """Those that are due, in their order."""
        found = []
        if self._overtaken and self._patience <= now:
            self._overtake(max(now, self._behind))
        while self._queue and self._queue[0][0] <= now:
            frame = heapq.heappop(self._queue)[2]
            self._bytes -= len(frame)
            found.append(frame)
        return found

    def drain(self) -> list[bytes]:
        """All, in the order in which they would have been due."""
        if self._overtaken:
            self._overtake(self._behind)
        found = [frame for _, _, frame in sorted(self._queue)]
        self._queue, self._bytes = [], 0
        return found

    # -- inside ----------------------------------------------------------------------------

    def _hits(self, name: str) -> bool:
        share: float = getattr(self._terms, name)
        return share > 0.0 and (share >= 1.0 or self._dice.random() < share)

    def _wait(self) -> float:
        least, most = self._terms.delay
        return least + (most - least) * self._dice.random() if most > least else least

    def _start(self, size: int, ready: float) -> float:
        """When the rate lets a frame go that is ready by then."""
        rate = self._terms.rate
        if not rate:
            return ready
        return max(ready, self._paid_until - max(BURST, _FULL_FRAME * 8 / rate))

    def _pay(self, size: int, ready: float) -> None:
        if self._terms.rate:
            self._paid_until = max(ready, self._paid_until) + size * 8 / self._terms.rate

    def _enter(self, frame: bytes, due: float) -> None:
        self._count += 1
        self._bytes += len(frame)
        heapq.heappush(self._queue, (due, self._count, frame))

    def _queued(self, frame: bytes, due: float) -> bool:
        """Put a frame behind the others, and whom it overtakes behind it; False when too many are
        held, and it is lost."""
        if len(self) >= MAX_FRAMES or self._bytes + len(frame) > MAX_BYTES:
            return False
        self._behind = due
        self._enter(frame, due)
        if self._overtaken:
            self._overtake(due)
        return True

    def _overtake(self, due: float) -> None:
        frames, self._overtaken = self._overtaken, []
        for frame in frames:
            self._enter(frame, due)
        self._behind = max(self._behind, due)


class Shaper:
    """All stages on one way, in the order of their rules."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []
        self._through: list[bytes] = []

    @property
    def stages(self) -> Sequence[Stage]:
        """Those that stand."""
        return self._stages

    @property
    def deadline(self) -> float | None:
        """When the next frame is due; None when none is held."""
        due = [stage.deadline for stage in self._stages]
        return min((one for one in due if one is not None), default=None)

    def add(self, stage: Stage) -> None:
        """One more, behind the others."""
        self._stages.append(stage)

    def remove(self, stage: Stage, now: float) -> None:
        """One less: what it held goes on at once, before whatever comes."""
        at = self._stages.index(stage)
        del self._stages[at]
        self._on(at, stage.drain(), now)

    def put(self, frame: bytes, now: float) -> None:
        """A frame that has come."""
        self._on(0, [frame], now)

    def take(self, now: float) -> list[bytes]:
        """Those that have passed everything, in their order."""
        for number, stage in enumerate(self._stages):
            self._on(number + 1, stage.take(now), now)
        found, self._through = self._through, []
        return found

    def _on(self, number: int, frames: Sequence[bytes], now: float) -> None:
        """Into the stage of that number, or out."""
        for frame in frames:
            if number < len(self._stages):
                self._stages[number].put(frame, now)
            else:
                self._through.append(frame)
