"""What clients were told, as it stands on their consoles: read while it grows.

Nobody here knows what is broken, or by whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domains.guests.ledger import acknowledged
from domains.guests.register import Event, event
from hvsim.faults.checkers.secrets import secret

GOODBYE: Final = {
    "commits": ("batches committed", "requests answered"),
    "registers": ("registers: done",),
}
"""What the last line holds of a client that ended when it was asked to."""
_READ_MAX: Final = 1 << 22


@dataclass
class History:
    """Of the client in one domain.

    Attributes:
        told: moments at which it was told something that counts as progress.
        commits, events, secrets: what it was told.
        orderly: it has said goodbye.
    """

    domain: str
    kind: str
    told: list[float] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    secrets: list[tuple[str, bool]] = field(default_factory=list)
    orderly: bool = False
    last: str = ""

    def take(self, line: str, moment: float) -> None:
        """One line, which was there at *moment*."""
        if line.strip():
            self.last = line.strip()
        if self.kind == "commits":
            numbers = acknowledged([line])
            self.commits += numbers
            self.told += [moment] * len(numbers)
        elif self.kind == "registers":
            one = event(line)
            if one is not None:
                self.events.append(one)
                if one.outcome == "ok":
                    self.told.append(moment)
        elif self.kind == "secrets":
            asked = secret(line)
            if asked is not None:
                self.secrets.append(asked)
                self.told.append(moment)
        elif line.strip():
            self.told.append(moment)
        if any(one in line for one in GOODBYE.get(self.kind, ())):
            self.orderly = True


class Follower:
    """Reads a console's log into a history."""

    def __init__(self, log: Path, history: History) -> None:
        self.history: Final = history
        self._log = log
        self._offset = 0
        self._rest = b""

    def read(self, moment: float) -> None:
        """Take in what is new."""
        try:
            with open(self._log, "rb") as file:
                file.seek(self._offset)
                data = file.read(_READ_MAX)
        except OSError:
            return
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.history.take(line.decode(errors="replace"), moment)
