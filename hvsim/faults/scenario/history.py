"""What clients were told, as it stands on their consoles: read while it grows.

Nobody here knows what is broken, or by whom.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domains.guests.ledger import acknowledged
from domains.guests.register import Event, event
from hvsim.drivers.console.log import previous
from hvsim.faults.checkers.secrets import secret
from hvsim.wire.closing import Closing

GOODBYE: Final = {
    "commits": ("batches committed", "requests answered"),
    "registers": ("registers: done",),
}
"""What the last line holds of a client that ended when it was asked to."""
_READ_MAX: Final = 1 << 20
_LINE_MAX: Final = 1 << 16
"""Bytes of a line without an end that are kept, of its last ones."""


@dataclass
class History:
    """Of the client in one domain.

    Attributes:
        told: moments at which it was told something that counts as progress.
        commits, events, secrets: what it was told.
        orderly: it has said goodbye.
        lost: its console has filled two files between two looks, so that some of it is not known.
    """

    domain: str
    kind: str
    told: list[float] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    secrets: list[tuple[str, bool]] = field(default_factory=list)
    orderly: bool = False
    lost: bool = False
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


class Follower(Closing):
    """Reads a console's log into a history, also behind a file that was full: the console goes on
    in another of that name.  It keeps the one that it reads open, whose number is nobody else's
    then."""

    def __init__(self, log: Path, history: History) -> None:
        self.history: Final = history
        self._log = log
        self._fd = -1
        self._rest = b""

    def close(self) -> None:
        """Let go of the file; nobody reads after that.  Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, moment: float) -> None:
        """Take in what is new."""
        for data in self._new():
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = rest[-_LINE_MAX:]
            for line in lines:
                self.history.take(line.decode(errors="replace"), moment)

    def _new(self) -> Iterator[bytes]:
        before = previous(self._log)
        if self._fd < 0:
            self._fd = _opened(self._log)
            if self._fd >= 0:  # opened first: it may be turned over in between
                with suppress(OSError), open(before, "rb") as file:
                    if not os.path.sameopenfile(file.fileno(), self._fd):
                        yield file.read()
        while self._fd >= 0:
            yield from self._left()
            now = _opened(self._log)
            if now < 0 or os.path.sameopenfile(now, self._fd):
                if now >= 0:
                    os.close(now)
                return
            yield from self._left()  # what came until it was full
            try:
                self.history.lost |= not os.path.samestat(before.stat(), os.fstat(self._fd))
            except OSError:
                self.history.lost = True
            os.close(self._fd)
            self._fd = now

    def _left(self) -> Iterator[bytes]:
        while data := os.read(self._fd, _READ_MAX):
            yield data


def _opened(path: Path) -> int:
    """A descriptor; -1 while there is no such file."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
