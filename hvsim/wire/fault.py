"""A rule of a fault as it travels, and when it fires.

A person writes it (``hvsim.faults``), the hypervisor keeps it under a number, and whoever stands
where it breaks something gets a copy: the hypervisor itself, a process of a domain, the store.
"""

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, field

from hvsim.wire.typed import Message

Count = Annotated[int, Meta(ge=0, le=1 << 48)]
Chance = Annotated[float, Meta(ge=0.0, le=1.0)]


class When(Message, frozen=True):
    """Which of the events that a rule looks at it fires on.

    Attributes:
        after: so many pass untouched first.
        every: then each n-th, the first of them at once.
        times: so often at most; 0 for no end.
        chance: of each that is left.
    """

    after: Count = 0
    every: Annotated[int, Meta(ge=1, le=1 << 48)] = 1
    times: Count = 0
    chance: Chance = 1.0


class Rule(Message, frozen=True):
    """One rule.

    Attributes:
        text: as a person wrote it.
        domain: handle (uuid) of the domain in which it acts, whatever its number is by then.
        process: of that domain; "" for its main one.
        peer: handle of the domain at the other end; None for any.
        peer_process: of that one, for a rule that acts there as well, or names it.
        both: whether it acts in the peer's domain too, where domain and peer change places.
        by: "module:function" that puts it in place in that process; "" when the hypervisor does.
        seam: what it breaks, of the hypervisor's own.
        settings: what exactly.
        seconds: after which it is taken away; 0 for never.
        seed: of its dice.

    Said by the hypervisor:
        number: by which it is taken away.
        fired: how often it has.
        peer_domid: the number of the domain at the other end, -1 for any, -2 when it is not there.
    """

    text: str = ""
    domain: bytes = bytes(16)
    process: str = ""
    peer: bytes | None = None
    peer_process: str = ""
    both: bool = False
    by: str = ""
    seam: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    when: When = When()
    seconds: Annotated[float, Meta(ge=0.0, le=1e9)] = 0.0
    seed: Count = 0
    number: Count = 0
    fired: Count = 0
    peer_domid: int = -1


class Trigger:
    """Decides for one event after the other whether a rule fires.

    Args:
        dice: draws from [0, 1).
        fired: how often it has in an earlier life.
    """

    def __init__(self, when: When, dice: Callable[[], float], fired: int = 0) -> None:
        self._when = when
        self._dice = dice
        self._seen = 0
        self.fired = fired

    @property
    def spent(self) -> bool:
        """Whether it will never fire again."""
        return bool(self._when.times) and self.fired >= self._when.times

    def fires(self, would: bool = True) -> bool:
        """Whether it does, on the next event, on which something *would* happen, or would not."""
        fires = self.looks() and would
        self.fired += fires
        return fires

    def looks(self) -> bool:
        """Whether it may, on the next event: for who decides himself, and counts in `fired`."""
        when = self._when
        beyond = self._seen - when.after
        self._seen += 1
        if beyond < 0 or beyond % when.every or self.spent:
            return False
        return when.chance >= 1.0 or self._dice() < when.chance
