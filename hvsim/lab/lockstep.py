"""How somebody outside waits for a lab in lockstep: by letting its time go on.

Nothing happens in such a lab while nobody outside waits.  Who does looks at what he waits for, lets
all happen that can happen now, looks again, and lets time go on to the next moment at which
something happens by itself; so what he does has a place in the order of the run, and his limits are
of the lab's time.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

from hvsim.abi.hypercall import HVSIM_SYSCTL_advance, HVSIM_SYSCTL_tape, HYPERVISOR_sysctl
from hvsim.lab.door import Door
from hvsim.wire.typed import read

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE: Final = 70.0
"""Seconds of the machine's time in which all that can happen must have: longer than the hypervisor
waits for one turn."""
_SECOND: Final = 1_000_000_000
_NEVER: Final = -1
_LOOK: Final = -1
"""Time does not go on by that, and nothing happens."""


class GateWaits:
    """Waits (``hvsim.xs.waits``) for a lab in lockstep.

    Args:
        door: the hypervisor's.

    Raises: DoorError, here and in every call: the hypervisor has gone, or somebody else lets its
        time go on.
    """

    def __init__(self, door: Path) -> None:
        self._door = door

    def now(self) -> float:
        """Seconds of the lab's time."""
        now, _ = self._advance(_LOOK)
        return now / _SECOND

    def pause(self, seconds: float) -> None:
        """Let so much time go by."""
        self._advance(round(seconds * _SECOND))

    def ready(self, fd: int, write: bool, timeout: float | None) -> bool:
        """Whether *fd* can be read (or, with *write*, written) within *timeout* seconds; None: as
        long as anything happens in the lab at all."""
        look = select.poll()
        look.register(fd, select.POLLIN | (select.POLLOUT if write else 0))
        if look.poll(0):
            return True
        begun, due = self._advance(0)
        now, end = begun, None if timeout is None else begun + round(timeout * _SECOND)
        while not look.poll(0):
            times = [time for time in (end, None if due == _NEVER else due) if time is not None]
            if not times or (end is not None and now >= end):
                return False
            now, due = self._advance(max(0, min(times) - now))
        return True

    def tape(self) -> tuple[int, dict[int, int]]:
        """How many choices there were, and which were not the one that had waited longest."""
        return read(tuple[int, dict[int, int]], self._call(HVSIM_SYSCTL_tape))

    def _advance(self, by: int) -> tuple[int, int]:
        """Let time go on by so many nanoseconds, and all happen that does until then; what time it
        is then, and when something happens next by itself."""
        return read(tuple[int, int], self._call(HVSIM_SYSCTL_advance, by))

    def _call(self, cmd: int, *args: int) -> object:
        with Door(self._door, PATIENCE) as door:
            found: object = door.call(HYPERVISOR_sysctl, cmd, *args)
            return found
