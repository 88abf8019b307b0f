"""What happens to one notify that passes through the hypervisor: a policy, pure.

A rule map comes with ``event_mode``::

    {"drop": 0.1,             probability that it is lost
     "duplicate": 0.05,       probability that it comes twice
     "delay": 0.2,            probability that it comes late
     "delay_us": [100, 5000]} by how much: between these, microseconds

No key means "never". Dice are handed in, so a seed replays every decision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.errors import XenError

MAX_DELAY_US: Final = 60_000_000
"""A doorbell is late by a minute at most."""
_KEYS: Final = frozenset({"drop", "duplicate", "delay", "delay_us"})


@dataclass(frozen=True, slots=True)
class Policy:
    """Probabilities, and the bounds of a delay in microseconds."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_us: tuple[int, int] = (1_000, 10_000)

    @classmethod
    def parse(cls, rule: dict[object, object]) -> Self:
        """Check a rule map. Raises XenError(EINVAL) that names the key."""
        if unknown := [key for key in rule if key not in _KEYS]:
            raise XenError(EINVAL, f"event rule: unknown key {unknown[0]!r}")
        chances = {}
        for key in ("drop", "duplicate", "delay"):
            value = rule.get(key, 0.0)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0.0 <= value <= 1.0
            ):
                raise XenError(EINVAL, f"event rule: {key} is no probability")
            chances[key] = float(value)
        bounds = rule.get("delay_us", [1_000, 10_000])
        if (
            not isinstance(bounds, list)
            or len(bounds) != 2
            or any(type(bound) is not int for bound in bounds)
            or not 0 <= bounds[0] <= bounds[1] <= MAX_DELAY_US
        ):
            raise XenError(EINVAL, "event rule: delay_us is no [least, most]")
        return cls(**chances, delay_us=(bounds[0], bounds[1]))

    def decide(self, dice: Callable[[], float]) -> list[int]:
        """When one notify is delivered: delays in nanoseconds, 0 for at once, [] for never."""
        if self.drop and dice() < self.drop:
            return []
        times = [self._delay(dice)]
        if self.duplicate and dice() < self.duplicate:
            times.append(self._delay(dice))
        return times

    def _delay(self, dice: Callable[[], float]) -> int:
        if self.delay and dice() < self.delay:
            least, most = self.delay_us
            return int((least + (most - least) * dice()) * 1000)
        return 0


PASS: Final = Policy()
"""Every notify is delivered at once."""
