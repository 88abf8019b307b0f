"""A device with both halves connected, whose rules are in place when they are said."""

from __future__ import annotations

from tests.drivers.netrig import NetRig
from tests.faults.breaking import Breaker


class Breakable(NetRig):
    """Comes before the rig of the device.

    Attributes:
        target: the device, as a rule names it; breaker: of that device.
    """

    target: str
    breaker: Breaker

    def rest(self, turns: int = 20) -> None:
        """Also for what comes a little later: a rule, a look that was put off."""
        super().rest(turns)
        for _ in range(10):
            self.turn(0.002)

    def add(self, *words: str) -> int:
        """In place when this returns."""
        number = self.breaker.add(self.target, *words)
        self.rest()
        return number

    def remove(self, number: int) -> None:
        """Gone when this returns."""
        self.breaker.remove(number)
        self.rest()

    def trouble(self) -> str:
        """Why the one rule does not stand."""
        self.run(lambda: bool(self.breaker.standing()[0].trouble), "what is wrong with the rule")
        return self.breaker.standing()[0].trouble

    def close(self) -> None:
        """No rule outlives its device."""
        self.breaker.clear()
        super().close()
