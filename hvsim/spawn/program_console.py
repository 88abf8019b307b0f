"""The console of a domain as the terminal of the program that it runs.

A real guest's kernel has a terminal (hvc0) on its console; so has this one, a pseudo terminal of
the domain's own: prompts come at once, what is typed is edited in lines, echoed, and read by the
program.
Output passes as it was written: no CR is added (the person's terminal does that, see
``hvsim.observe.console``), nothing is decoded and no line is cut.

A program that writes faster than the daemon takes is slowed, as on a real console.  It is not held
for ever when the daemon stands still: then the middle of what it writes is lost, and marked.
"""

from __future__ import annotations

import contextlib
import termios
import tty
from typing import TYPE_CHECKING, Final

from hvsim.domain.timers import Timer
from hvsim.errors import TimedOut
from hvsim.spawn.exec_terminal import ProgramTerminal
from hvsim.wire.execution import WINDOW

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

ENOUGH: Final = 32 * 1024
"""Bytes of output that wait for the daemon before the program is held."""
PATIENCE: Final = 1.0
"""Seconds in which the daemon must take something for the program to be held on."""
LAST_WORDS: Final = 256 * 1024
"""Bytes that are taken after the program's end; what it left running may write on."""


class ProgramConsole:
    """One terminal, for the domain's one program.

    Attributes:
        slave: its far end, for the program.

    Raises: OSError: there is no terminal to be had.
    """

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._console = dom.console
        self._held: Timer | None = None
        self._unsent = 0
        self._terminal = ProgramTerminal(dom.vcpu, self._readable, self._took)
        self.slave: Final = self._terminal.slave
        modes = termios.tcgetattr(self.slave)
        modes[tty.OFLAG] &= ~termios.OPOST
        termios.tcsetattr(self.slave, termios.TCSANOW, modes)
        self._console.on_input(self._typed)
        self._console.on_taken(self._taken)

    def finish(self) -> None:
        """The last words, after the program's end."""
        self._let_go()
        left = LAST_WORDS
        while left > 0 and (data := self._terminal.read()):
            left -= len(data)
            self._console.write(data)
            if self._full:
                with contextlib.suppress(TimedOut):
                    self._dom.wait(lambda: not self._full, PATIENCE, "the console daemon")
        self._terminal.listen(False)

    # -- output --------------------------------------------------------------------------------

    @property
    def _full(self) -> bool:
        return self._console.unsent > ENOUGH

    def _readable(self) -> None:
        self._console.write(self._terminal.read())
        if self._full and self._held is None:
            self._hold()

    def _hold(self) -> None:
        self._terminal.listen(False)
        self._unsent = self._console.unsent
        self._held = self._dom.vcpu.call_later(PATIENCE, self._enough_patience)

    def _enough_patience(self) -> None:
        if self._console.unsent < self._unsent:
            self._hold()  # it takes, though slowly
        else:
            self._terminal.listen(True)  # ``_held`` stays: not held again until something is taken

    def _taken(self) -> None:
        if self._held is not None and not self._full:
            self._let_go()
            self._terminal.listen(True)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None

    # -- input ---------------------------------------------------------------------------------

    def _typed(self, data: bytes) -> None:
        self._terminal.write(data)
        if self._terminal.unwritten > WINDOW:
            self._console.listen(False)

    def _took(self, _count: int) -> None:
        if self._terminal.unwritten <= WINDOW:
            self._console.listen(True)
