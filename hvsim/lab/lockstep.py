"""How somebody outside waits for a lab in lockstep: by letting its time go on.

Nothing happens in such a lab while nobody outside waits.  Who does looks at what he waits for, lets
all happen that can happen now, looks again, and lets time go on to the next moment at which
something happens by itself; so what he does has a place in the order of the run, and his limits are
of the lab's time.
"""

from __future__ import annotations

import math
import select
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from hvsim.abi.hypercall import HVSIM_SYSCTL_advance, HVSIM_SYSCTL_tape, HYPERVISOR_sysctl
from hvsim.lab.door import Door, DoorError
from hvsim.wire.closing import Closing
from hvsim.wire.typed import read

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE: Final = 70.0
"""Seconds of the machine's time in which all that can happen must have: longer than the hypervisor
waits for one turn."""
LOOK: Final = 1.0
"""Seconds in which the hypervisor tells who has the turn."""
SLICE: Final = 1_000_000
"""Nanoseconds of the lab's time between two looks of who waits for a lab that is never quiet."""
_SECOND: Final = 1_000_000_000
_NEVER: Final = -1


class OutOfTime(DoorError):
    """The machine's time for which somebody waits is up.

    Attributes:
        domid: the domain that has the turn and does not come to its end; None: the turns go by,
            and are too many.
    """

    def __init__(self, text: str, domid: int | None) -> None:
        super().__init__(text)
        self.domid = domid


def _nanoseconds(seconds: float) -> int:
    """At least one where any time is left: who waits for the rest of it would wait for ever."""
    return math.ceil(seconds * _SECOND)


class Moment(NamedTuple):
    """Where the lab stands.

    Attributes:
        now: nanoseconds of its time.
        due: when something happens next by itself; -1: never.
        quiet: whether nothing can happen before time goes on.
    """

    now: int
    due: int
    quiet: bool


class GateWaits(Closing):
    """Waits (``hvsim.xs.waits``) for a lab in lockstep; closed by whoever waits with it.

    Args:
        door: the hypervisor's.
        limit: seconds of the machine's time from now on, after which it waits no longer; None: as
            long as the lab's own limits let it.

    Raises: DoorError, here and in every call: the hypervisor has gone, or too many others wait;
    OutOfTime.
    """

    def __init__(self, door: Path, limit: float | None = None) -> None:
        self._path = door
        self._door: Door | None = None
        self._limit = limit
        self._end = math.inf if limit is None else time.monotonic() + limit
        self._first: int | None = None
        self._last = 0

    def close(self) -> None:
        """Leave; who waits again comes back."""
        if self._door is not None:
            self._door.close()
            self._door = None

    def now(self) -> float:
        """Seconds of the lab's time."""
        return self._advance(0).now / _SECOND

    def pause(self, seconds: float) -> None:
        """Let so much time go by."""
        self._advance(_nanoseconds(seconds))

    def ready(self, fd: int, write: bool, timeout: float | None) -> bool:
        """Whether *fd* can be read (or, with *write*, written) within *timeout* seconds; None: as
        long as anything happens in the lab at all."""
        look = select.poll()
        look.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
        if look.poll(0):
            return True
        end = None
        while True:
            moment = self._advance(SLICE, quiet=True)
            if look.poll(0):
                return True
            if end is None and timeout is not None:  # most have what they wait for by then
                end = moment.now + _nanoseconds(timeout)
            times = [time for time in (end, moment.due) if time is not None and time != _NEVER]
            if not times or (end is not None and moment.now >= end):
                return False
            if moment.quiet:
                self._advance(max(0, min(times) - moment.now))

    def tape(self) -> tuple[int, dict[int, int]]:
        """How many choices there were, and which were not the one that had waited longest."""
        tape: dict[int, int] = {}
        start = 0
        while True:
            told = self._call(HVSIM_SYSCTL_tape, start)
            made, start, part = read(tuple[int, int, list[tuple[int, int]]], told)
            tape.update(part)
            if start == made:
                return made, tape

    def _advance(self, by: int, *, quiet: bool = False) -> Moment:
        """Let time go on by so many nanoseconds, or at most so many and until all is *quiet*."""
        told = self._call(HVSIM_SYSCTL_advance, by, quiet)
        moment = Moment(*read(tuple[int, int, bool], told))
        self._first, self._last = self._first or moment.now, moment.now
        return moment

    def _call(self, cmd: int, *args: int) -> object:
        if self._door is None:
            self._door = Door(self._path, PATIENCE)
        timeout = min(PATIENCE, self._end - time.monotonic())
        if timeout <= 0.0:
            raise OutOfTime(self._passed(), None)
        try:
            found: object = self._door.call(HYPERVISOR_sysctl, cmd, *args, timeout=timeout)
        except DoorError:  # a refusal too; only the clock tells
            running = self._running() if time.monotonic() >= self._end else None
            if running is None:
                raise
            raise OutOfTime(self._passed(), running) from None
        return found

    def _passed(self) -> str:
        lab = (self._last - (self._first or self._last)) / _SECOND
        return f"{lab:.3f} s of the lab's time went by in {self._limit:g} s of the machine's"

    def _running(self) -> int | None:
        """Whose turn it is, by number; None when nobody's, or nobody tells."""
        try:
            with Door(self._path, LOOK) as door:
                return next(
                    (one["domid"] for one in door.domains() if one["flags"]["running"]), None
                )
        except DoorError:
            return None
