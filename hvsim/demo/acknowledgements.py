"""The database's acknowledgements, read from its console log while it grows."""

import time
from collections.abc import Callable
from pathlib import Path

from domains.guests.ledger import ACKNOWLEDGEMENT

LAST_WORD = "batches committed"
"""What the database's last line holds when it shuts down in order."""


class Acknowledgements:
    """Follows one console log. `numbers` are the commits that were acknowledged, in order."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.numbers: list[int] = []
        self.last_words = False
        self._offset = 0
        self._rest = b""

    def read(self) -> int:
        """Take in what is new; returns how many commits are acknowledged so far."""
        try:
            with open(self.log, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return len(self.numbers)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        mark = ACKNOWLEDGEMENT.encode()
        for line in lines:
            _, word, number = line.rpartition(mark)
            if word and number.strip().isdigit():
                self.numbers.append(int(number))
            elif LAST_WORD.encode() in line:
                self.last_words = True
        return len(self.numbers)

    def wait_for(self, count: int, timeout: float, alive: Callable[[], bool]) -> bool:
        """Wait until `count` commits are acknowledged; False after `timeout` seconds without
        any new one, or when `alive` says that none will come."""
        last, seen, asked = time.monotonic(), len(self.numbers), time.monotonic()
        while self.read() < count:
            now = time.monotonic()
            if len(self.numbers) > seen:
                last, seen = now, len(self.numbers)
            if now - last > timeout:
                return False
            if now - asked > 0.25:
                asked = now
                if not alive():
                    return self.read() >= count
            time.sleep(0.001)
        return True

    def wait_for_last_words(self, timeout: float) -> bool:
        """Wait until the database said goodbye: its console has then been logged whole."""
        deadline = time.monotonic() + timeout
        while not self.last_words and time.monotonic() < deadline:
            self.read()
            time.sleep(0.005)
        return self.last_words
