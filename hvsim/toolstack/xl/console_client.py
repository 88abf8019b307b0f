"""The client's end of ``xl console``: a terminal in raw mode on the pty of a domain.

Ctrl-] leaves, as on a real host.  Nothing of the lab is needed but the path of the pty.
"""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from typing import Final

from hvsim.speak import warn

ESCAPE: Final = 0x1D
"""Ctrl-]"""
_CHUNK: Final = 4096


@contextlib.contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Within the block *fd* passes every key as it is; afterwards it is as before."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)  # what was typed ahead is not thrown away
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def attach(path: str, stdin: int | None = None, stdout: int | None = None) -> int:
    """Connect this terminal with the pty at *path* until Ctrl-], the end of input, or its hangup.

    Returns an exit code: 0, or 1 when the pty cannot be opened (said on stderr).
    """
    source = sys.stdin.fileno() if stdin is None else stdin
    target = sys.stdout.fileno() if stdout is None else stdout
    try:
        pty = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as failure:
        warn(f"Could not open tty `{path}': {failure.strerror}")
        return 1
    try:
        # The pty is raw already, xenconsoled made it so.
        with raw_mode(source):
            _pump(source, target, pty)
    finally:
        os.close(pty)
    return 0


def _pump(source: int, target: int, pty: int) -> None:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(pty, select.POLLIN)
    while True:
        for fd, events in poll.poll():
            if fd == pty:
                data = _read(pty)
                if not data:
                    return  # the domain has gone
                _write(target, data)
            elif events & (select.POLLIN | select.POLLHUP):
                data = _read(source)
                head, found, _ = data.partition(bytes([ESCAPE]))
                _write(pty, head)
                if found:
                    return
                if not data:
                    poll.unregister(source)
                    if not _drain(pty, target):
                        return


def _drain(pty: int, target: int) -> bool:
    """The input has ended: show what is there, then leave."""
    while select.select([pty], [], [], 0.1)[0]:
        data = _read(pty)
        if not data:
            break
        _write(target, data)
    return False


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except OSError:
        return b""


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
