"""What a person types in raw mode, and the way out that ssh(1) has: ``~.`` at the beginning of a
line hangs up, ``~~`` is one tilde.  Pure.

A program whose domain stands still answers to no key, Ctrl-C least of all.
"""

from __future__ import annotations

from typing import Final

ESCAPE: Final = 0x7E
"""~"""
_HANG_UP: Final = 0x2E
_LINE_ENDS: Final = b"\r\n"


class Keys:
    """Takes what is typed, gives what goes on.

    Attributes:
        hung_up: ``~.`` was typed; nothing goes on any more.
    """

    def __init__(self) -> None:
        self.hung_up = False
        self._at_start = True
        self._escaped = False

    def feed(self, data: bytes) -> bytes:
        """What of *data* goes to the program."""
        out = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte == _HANG_UP:
                    self.hung_up = True
                    return bytes(out)
                out.append(ESCAPE)
                if byte == ESCAPE:
                    self._at_start = False
                    continue
            elif self._at_start and byte == ESCAPE:
                self._escaped = True
                continue
            out.append(byte)
            self._at_start = byte in _LINE_ENDS
        return bytes(out)
