"""What a program of a driver domain prints, on its way to its console or to its own log."""

from __future__ import annotations

import os

from hvsim.domain import Domain

_CHUNK = 4096
_LINE_MAX = 64 * 1024


class Output:
    """The pipe that a program writes into, and the console that it comes out of.

    A console gets the bytes as they are; a process without one notes whole lines.
    """

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writer, True)
        self._line = b""
        self._listening = False

    def begin(self) -> None:
        """The program has its end: close ours, and listen."""
        os.close(self.writer)
        self._dom.vcpu.add_fd(self._reader, self._readable)
        self._listening = True

    def finish(self) -> None:
        """The last words; once, after the program's end."""
        while self._read():
            pass
        if self._line:
            self._note(self._line)
            self._line = b""
        self._deafen()
        os.close(self._reader)

    def _deafen(self) -> None:
        if self._listening:
            self._dom.vcpu.remove_fd(self._reader)
            self._listening = False

    def _readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._deafen()
            return False
        if self._dom.has_console:
            self._dom.console.write(data)
            return True
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self._note(line)
        if len(self._line) >= _LINE_MAX:
            self._note(self._line)
            self._line = b""
        return True

    def _note(self, line: bytes) -> None:
        self._dom.log(line.decode("utf-8", "surrogateescape"))
