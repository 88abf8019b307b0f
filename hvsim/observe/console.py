"""A terminal on a domain's console: what `xl console` does with the pty of xenconsoled.

Source: tools/console/client/main.c of Xen: raw mode, Ctrl-] leaves.  There every line of a domain
ends in CR LF, for its kernel has a terminal that adds the CR.  Ours say what their programs say, so
that a log holds the bytes that were written, and the CR is added here, by the person's own terminal
(ONLCR of termios(3)).
"""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

from hvsim.errors import HvsimError
from hvsim.surroundings import write_all

ESCAPE = b"\x1d"
"""Ctrl-]"""


def attach(path: str, stdin: int | None = None, stdout: int | None = None) -> int:
    """Join this process's terminal with the pty at `path` until Ctrl-], the end of a piped
    standard input, or the end of the console. Returns 0. Raises HvsimError, OutputFailed."""
    source = sys.stdin.fileno() if stdin is None else stdin
    sink = sys.stdout.fileno() if stdout is None else stdout
    try:
        pty = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise HvsimError(
            f"console {path}: {error.strerror}; is the domain still there? `hvsim xl list`"
        ) from None
    try:
        with _raw(pty), _raw(source, lines=True):
            _join(pty, source, sink)
    finally:
        os.close(pty)
    return 0


@contextlib.contextmanager
def _raw(fd: int, *, lines: bool = False) -> Iterator[None]:
    """Keys pass as they are; with *lines*, what is shown begins each line at the margin."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)  # flush nothing: the domain may have spoken already
    try:
        if lines:
            modes = termios.tcgetattr(fd)
            modes[tty.OFLAG] |= termios.OPOST | termios.ONLCR
            termios.tcsetattr(fd, termios.TCSANOW, modes)
        yield
    finally:
        with contextlib.suppress(termios.error):  # the other side may be gone by now
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _join(pty: int, source: int, sink: int) -> None:
    poll = select.poll()
    poll.register(pty, select.POLLIN)
    poll.register(source, select.POLLIN)
    while True:
        for fd, event in poll.poll():
            if fd == pty:
                if not _copy_out(pty, sink):
                    return
            elif event & (select.POLLIN | select.POLLHUP):
                typed = os.read(source, 1024)
                before, escape, _ = typed.partition(ESCAPE)
                write_all(pty, before)
                if escape or not typed:
                    return
            else:
                return


def _copy_out(pty: int, sink: int) -> bool:
    try:
        data = os.read(pty, 4096)
    except OSError:
        data = b""
    if not data:  # xenconsoled has closed its side: the domain is gone
        return False
    write_all(sink, data)
    return True
