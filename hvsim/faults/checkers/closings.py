"""No device closes without a word: a half that was Connected becomes Closed only when one of the
two has said Closing, so that the other has let go of what it was given.  Pure.

Source: ``xen/io/blkif.h`` (state diagrams); the steps that our drivers and those of Linux take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.faults.checkers.verdict import Verdict

_OTHER: Final = {"frontend": "backend", "backend": "frontend"}


def closings(devices: Mapping[str, Sequence[Mapping[str, Any]]]) -> Verdict:
    """Judge what the store's monitor has kept of each device, by its name.

    A half whose other half is not known to be anything (it has gone, or nothing was kept of it) may
    do as it likes.
    """
    problems = []
    closed = 0
    for name, records in devices.items():
        states: dict[str, int] = {}
        for record in records:
            half, new = str(record["half"]), int(record.get("new", 0))
            if record["kind"] == "removed":
                states.pop(half, None)
            if record["kind"] != "state":
                continue
            old = states.get(half, record.get("old"))
            states[half] = new
            if new != XenbusState.Closed or old != XenbusState.Connected:
                continue
            closed += 1
            if states.get(_OTHER[half]) == XenbusState.Connected:
                problems.append(f"{name}: the {half} was closed, and nobody had said Closing")
    return Verdict(f"{closed} devices closed of {len(devices)}", tuple(problems))
