"""The near end of ``hvsim exec``: a person's descriptors become a program's, a domain apart.

Which of them the program gets, and what it gets for the others: ``streams``.  What goes to and fro
then: ``exec_session``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hvsim.errors import HvsimError
from hvsim.lab.answers import ControlError
from hvsim.lab.control import Control
from hvsim.lab.exec_session import Inflow, Outcome, Outflow, Session
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.keys import Keys
from hvsim.lab.rundir import RunDir
from hvsim.lab.streams import Kind, Stream, look, plan
from hvsim.lab.terminal import Port, Raw, window
from hvsim.surroundings import working_directory
from hvsim.wire import execution, rights
from hvsim.wire.execution import GIVEN, TERMINAL, Begin, Modes, packed
from hvsim.wire.lab_requests import Exec
from hvsim.wire.peer import credentials

ACCEPT_TIMEOUT: Final = 10.0
"""Seconds for the process, which is there already, to connect."""
_INHERITED: Final = ("TERM", "LANG", "LC_ALL")
_WINDOW: Final = ("COLUMNS", "LINES")
"""For a program without a terminal; one that has a terminal asks that, as its window may change."""

__all__ = ["ControlError", "HvsimError", "Outcome", "execute"]


def execute(
    lab: RunDir,
    control: Control,
    domain: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    terminal: bool | None = None,
) -> Outcome:
    """Run *argv* in *domain* with this process's standard descriptors; returns how it ended.

    Args:
        terminal: whether the program gets a terminal for those that are one; None: when a person
            talks with it, see ``streams``.

    Raises: StreamError, HvsimError; ControlError.
    """
    with contextlib.ExitStack() as stack:
        streams = [_stream(fd, stack) for fd in range(3)]
        kinds = plan(streams, terminal)
        taken = _INHERITED if Kind.TERMINAL in kinds else (*_INHERITED, *_WINDOW)
        inherited = {key: os.environ[key] for key in taken if key in os.environ}
        folder = Path(stack.enter_context(_folder(lab)))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(str(folder / "s"))
        listener.listen(8)
        answer = control.request(
            Exec(
                domain=domain,
                argv=argv,
                stdio=str(folder / "s"),
                env={**inherited, **env},
                directory=working_directory(),
            )
        )
        if answer.exit:
            raise HvsimError(*(answer.errors or [f"exec failed with {answer.exit}"]))
        pid = answer.data.get("pid") if isinstance(answer.data, dict) else None
        program = stack.enter_context(_accept(listener, pid, domain, lab, answer.data["domid"]))
        hands = _Hands(streams, kinds, stack)
        hands.give(program)
        return Session(program, domain, hands.inflow, hands.outflows, hands.raw, hands.screen).run()


def _stands_for(kind: Kind) -> execution.Stream:
    return TERMINAL if kind is Kind.TERMINAL else GIVEN


def _as_modes(raw: Raw) -> Modes:
    """Those of the person's terminal, as they are sent."""
    of_input, output, control, local, fast_in, fast_out, keys = raw.modes
    return of_input, output, control, local, fast_in, fast_out, tuple(keys)


def _stream(fd: int, stack: contextlib.ExitStack) -> Stream:
    """What is at 0, 1 or 2; where nothing is, /dev/null is from now on."""
    found = look(fd)
    if found is None:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        if null != fd:
            os.dup2(null, fd, inheritable=False)
            os.close(null)
        return Stream()
    return found


@contextlib.contextmanager
def _folder(lab: RunDir) -> Iterator[str]:
    """A directory of our own for the socket, short enough for its path, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="x", dir=lab.path) as folder:
        yield folder


def _accept(
    listener: socket.socket, pid: object, domain: str, lab: RunDir, domid: int
) -> socket.socket:
    """The connection of the process that the toolstack has told us of, and nobody else's.

    Raises: HvsimError.
    """
    deadline = time.monotonic() + ACCEPT_TIMEOUT
    while True:
        listener.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            program = listener.accept()[0]
        except TimeoutError:
            raise HvsimError(
                f"the process of {domain} did not come for its descriptors within "
                f"{ACCEPT_TIMEOUT:g} s: {_why_not(lab, domid)}"
            ) from None
        if credentials(program).pid == pid:
            return program
        program.close()


def _why_not(lab: RunDir, domid: int) -> str:
    found = Inquiry(lab).trouble(lambda census: census.domain(domid))
    return "it runs" if found is None else found.text


class _Hands:
    """What is given away of the person's descriptors, and what stands for the rest.

    Attributes:
        inflow, outflows, raw, screen: for the Session.
    """

    def __init__(
        self, streams: Sequence[Stream], kinds: Sequence[Kind], stack: contextlib.ExitStack
    ) -> None:
        self.inflow: Inflow | None = None
        self.outflows: list[Outflow] = []
        self.raw: Raw | None = None
        self.screen = -1
        self._kinds = kinds
        self._stack = stack
        self._given: list[int] = []
        self._theirs: list[int] = []
        """Ends of pipes that are the program's alone; closed here when they were given."""
        if Kind.TERMINAL in kinds:
            self._terminal()
        pipes: dict[int | None, int] = {}
        for fd, kind in enumerate(kinds):
            if kind is Kind.GIVEN:
                self._given.append(fd)
            elif kind is Kind.PIPE:
                # One pipe for all that is shown on one terminal: in the order of the writing.
                end = self._typed_pipe() if fd == 0 else pipes.get(streams[fd].device)
                if end is None:
                    end = pipes[streams[fd].device] = self._shown_pipe(fd)
                self._given.append(end)

    def give(self, program: socket.socket) -> None:
        """Send the first message.  Raises: HvsimError."""
        zero, one, two = map(_stands_for, self._kinds)
        message = Begin(
            streams=(zero, one, two),
            modes=None if self.raw is None else _as_modes(self.raw),
            size=window(self.screen) if self.screen >= 0 else None,
        )
        try:
            rights.send(program, [packed(message)], self._given, socket.MSG_DONTWAIT)
        except OSError as error:
            raise HvsimError(
                f"the program's descriptors cannot be sent: {error.strerror}"
            ) from None
        finally:
            rights.close(self._theirs)
            self._theirs.clear()

    def _terminal(self) -> None:
        """The program's terminal is shown on the first of 1, 2, 0 that it stands for, and typed
        into from the first of 0, 1, 2."""
        terminals = [fd for fd, kind in enumerate(self._kinds) if kind is Kind.TERMINAL]
        keyboard = terminals[0]
        self.screen = next((fd for fd in terminals if fd), keyboard)
        self.raw = Raw(keyboard)
        self.inflow = Inflow(self._port(keyboard, os.O_RDONLY), keyboard, keys=Keys())
        self.outflows.append(Outflow(self._port(self.screen, os.O_WRONLY)))

    def _typed_pipe(self) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writer, False)
        self.inflow = Inflow(self._port(0, os.O_RDONLY), 0, sink=writer)
        self._stack.callback(self.inflow.end)
        self._theirs.append(reader)
        return reader

    def _shown_pipe(self, fd: int) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        out = Outflow(self._port(fd, os.O_WRONLY), source=reader)
        self.outflows.append(out)
        self._stack.callback(out.end)
        self._theirs.append(writer)
        return writer

    def _port(self, fd: int, flags: int) -> Port:
        port = Port(fd, flags)
        self._stack.callback(port.close)
        return port
