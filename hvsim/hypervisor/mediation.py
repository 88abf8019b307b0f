"""What happens to one notify that passes through the hypervisor: a rule of a fault, pure.

Settings of a rule (seam "bell")::

    {"bell.drop": 0.1,           the share that is lost
     "bell.duplicate": 0.05,     the share that comes once more, `AGAIN` later
     "bell.reorder": 0.05,       the share that comes after the next one of the rule's channels
     "bell.delay": [1e-4, 5e-3], each comes late: between these, seconds
     "bell.storm": 1000.0}       so many come without a cause, each second

No key means "never".  Which notifies are looked at at all is the rule's `When`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeGuard

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.errors import XenError

MAX_DELAY: Final = 60.0
"""Seconds that a doorbell is late at most."""
MAX_STORM: Final = 10_000.0
"""Notifies a second that all storms together make at most."""
AGAIN: Final = 1_000_000
"""Nanoseconds between a notify and its double: two at once would be heard as one."""
_SHARES: Final = ("drop", "duplicate", "reorder")
_SECOND: Final = 1_000_000_000

Dice = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one notify.

    Attributes:
        lost: it never comes.
        held: it comes after the next one.
        late: nanoseconds.
        twice: it comes once more.
    """

    lost: bool = False
    held: bool = False
    late: int = 0
    twice: bool = False

    def __bool__(self) -> bool:
        return self.lost or self.held or self.late > 0 or self.twice

    def __str__(self) -> str:
        said = ["lost"] if self.lost else ["held back for the next one"] if self.held else []
        if self.late:
            said.append(f"{self.late // 1000} us late")
        if self.twice:
            said.append("once more")
        return ", ".join(said)


UNTOUCHED: Final = Fate()


@dataclass(frozen=True, slots=True)
class Policy:
    """The shares, the bounds of a delay in seconds, notifies a second."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)
    storm: float = 0.0

    @classmethod
    def parse(cls, settings: Mapping[str, object]) -> Self:
        """Check settings.  Raises: XenError(EINVAL) that names the key."""
        shares = {}
        for key in _SHARES:
            share = settings.get(f"bell.{key}", 0.0)
            if not _is_number(share, 1.0):
                raise XenError(EINVAL, f"fault: bell.{key} is no share")
            shares[key] = share
        delay = settings.get("bell.delay", [0.0, 0.0])
        if (
            not isinstance(delay, list)
            or len(delay) != 2
            or not all(_is_number(bound, MAX_DELAY) for bound in delay)
            or delay[0] > delay[1]
        ):
            raise XenError(EINVAL, f"fault: bell.delay is at most {MAX_DELAY:g} s")
        storm = settings.get("bell.storm", 0.0)
        if not _is_number(storm, MAX_STORM):
            raise XenError(EINVAL, f"fault: bell.storm is at most {MAX_STORM:g} a second")
        policy = cls(**shares, delay=(delay[0], delay[1]), storm=storm)
        if not policy.mediates and not storm:
            raise XenError(EINVAL, "fault: no bell is to be broken")
        return policy

    @property
    def mediates(self) -> bool:
        """Whether notifies must pass here for it."""
        return self.drop > 0 or self.duplicate > 0 or self.reorder > 0 or self.delay[1] > 0

    def decide(self, dice: Dice) -> Fate:
        """What becomes of the next notify."""
        if self.drop and dice() < self.drop:
            return Fate(lost=True)
        least, most = self.delay
        late = int((least + (most - least) * dice()) * _SECOND) if most else 0
        return Fate(
            held=bool(self.reorder) and dice() < self.reorder,
            late=late,
            twice=bool(self.duplicate) and dice() < self.duplicate,
        )


def _is_number(value: object, most: float) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0.0 <= value <= most
