"""Who looks on while a scenario runs, and tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hvsim.faults.scenario.clock import Clock
    from hvsim.faults.scenario.history import History
    from hvsim.faults.scenario.judge import Judge
    from hvsim.faults.scenario.model import Act, Phase
    from hvsim.lab.leftovers import Witness
    from hvsim.lab.up import Running


class Onlooker:
    """Hears of each step as it comes; this one makes nothing of it."""

    def ready(self, running: Running, seen: Witness, histories: Mapping[str, History]) -> None:
        """The lab is up; *histories* of its clients grow from now on.  Raises: HvsimError."""

    def phase(self, phase: Phase) -> None:
        """It begins.  Raises: HvsimError, which ends the phases."""

    def acting(self, act: Act) -> None:
        """It will be done now.  Raises: HvsimError, which ends the phases."""

    def settled(self) -> bool:
        """Whether the phase may end, if nothing else is in its way; asked again and again.

        Raises: HvsimError, which ends the phases."""
        return True

    def rest(self, clock: Clock, seconds: float) -> None:
        """Let about so much time pass."""
        clock.sleep(seconds)

    def over(self) -> None:
        """The phases are over, however they ended; the clients are asked to end next."""

    def judged(self, judge: Judge) -> None:
        """All was looked at; the lab is still there."""

    def down(self, running: Running) -> None:
        """Take the lab down."""
        running.down(now=True)

    def gone(self, seen: Witness) -> Sequence[str]:
        """The lab is down; what is left of it, in words."""
        return seen.ours()
