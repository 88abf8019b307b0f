"""The history of a disk's registers: what was asked of each, when, and what its client was told.

A line of the guest's console (`domains.guests.register`) is one event; events of one operation are
put together here.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from domains.guests.register import Event


@dataclass(frozen=True)
class Operation:
    """One read or write of a register.

    Attributes:
        writes: else it reads.
        value: that was written, or that was read; 0 is what a blank disk holds.
        begun, ended: seconds of the client's clock; *ended* is infinite for a write that nobody was
            told the end of, which may take effect at any time, or never.
        odd: "" or what was read in place of a value of this register.
    """

    register: int
    writes: bool
    value: int
    begun: float
    ended: float
    odd: str = ""


def operations(events: Iterable[Event]) -> list[Operation]:
    """The operations that these events tell of, in the order of their beginning.

    A read that failed or did not end says nothing and is left out.
    """
    open_writes: dict[tuple[int, int], Operation] = {}
    found: list[Operation] = []
    for event in events:
        key = event.register, event.value
        if event.outcome == "begun":
            open_writes[key] = Operation(event.register, True, event.value, event.begun, inf)
        elif event.writes and event.outcome == "ok":
            open_writes.pop(key, None)
            found.append(Operation(event.register, True, event.value, event.begun, event.ended))
        elif not event.writes and event.outcome != "failed":
            odd = "" if event.outcome == "ok" else event.outcome
            found.append(
                Operation(event.register, False, event.value, event.begun, event.ended, odd)
            )
    return sorted([*found, *open_writes.values()], key=lambda one: (one.begun, one.ended))
