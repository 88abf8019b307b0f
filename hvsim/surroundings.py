"""What a command finds where it is typed: descriptors 0 to 2, a locale, a working directory.

Four things of a caller's that every command must bear, settled here before anything else happens:

*Closed descriptors* (``hvsim up LAB >&-``).  The next file that is opened would become one of them,
and a program in a domain would be handed it.  They become /dev/null.

*An output that takes no more* (a full disk, a pipe whose reader has gone).  Writing raises
``OutputFailed``, which no code between mistakes for trouble of its own; the command ends with a
sentence, or silently with 141 as after SIGPIPE.  What standard error does not take is lost.

*A locale without the characters that are to be shown.*  What it has no sign for becomes "?", and a
byte that is no text ``\\xff`` on a terminal, itself in a file or a pipe.  Arguments, paths and
the environment are bytes to Linux: Python keeps them so in its UTF-8 mode (PEP 540), so in a locale
of another encoding the command is begun anew in that mode.

*A working directory that was removed.*  Only what looks for a file in it may fail.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BROKEN_PIPE: Final = 128 + 13
"""Exit status of a command whose reader has gone: what a shell says after SIGPIPE."""
_ENCODING: Final = "hvsim_encoding"
"""The -X option that carries the locale's encoding into UTF-8 mode."""
_ESCAPED: Final = range(0xDC80, 0xDD00)
"""A byte that is no text, as ``surrogateescape`` keeps it."""
SHOWN: Final = "hvsim.shown"
"""Error handler for encoding: what cannot be shown is written in ASCII."""
KEPT: Final = "hvsim.kept"
"""Error handler for encoding: bytes that are no text stay what they were, for programs."""


class OutputFailed(Exception):
    """Standard output takes no more.

    Attributes:
        errno: why; EPIPE when its reader has gone.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"standard output: {os.strerror(number)}")
        self.errno = number


def prepare() -> None:
    """Make this process's standard streams fit to be used; call it first, and once.

    May begin the program anew (``execv``), and does not return then.
    """
    _open_missing()
    encoding = sys._xoptions.get(_ENCODING)
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        options = ("-X", "utf8", "-X", f"{_ENCODING}={_of_locale()}")
        os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = _text(1, encoding or _encoding_of(sys.stdout), _Output(1, "w", closefd=False))
    sys.stderr = _text(2, encoding or _encoding_of(sys.stderr), _Lossy(2, "w", closefd=False))


def working_directory() -> str:
    """Where the user stands.  Of a directory that was removed it is what the kernel still calls
    it, a path below which nothing is found."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.readlink("/proc/self/cwd")


def write_all(fd: int, data: bytes) -> None:
    """Write *data* to standard output past its text.  Raises OutputFailed."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        raise OutputFailed(error.errno or errno.EIO) from None


def discard_output() -> None:
    """Let what is still to be written go nowhere: it was said that the output has failed."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)


def _open_missing() -> None:
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is the one that is missing.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _encoding_of(stream: object) -> str:
    """Its encoding; None, as Python has it for a closed descriptor, is as good as the locale's."""
    return str(getattr(stream, "encoding", None) or _of_locale())


def _of_locale() -> str:
    import locale  # seldom needed, and slow to import

    return locale.getencoding()


def _text(fd: int, encoding: str, raw: io.RawIOBase) -> TextIO:
    terminal = os.isatty(fd)
    errors = SHOWN if terminal or fd == 2 else KEPT
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, errors, line_buffering=terminal or fd == 2)


class _Output(io.FileIO):
    """Descriptor 1."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputFailed(error.errno or errno.EIO) from None


class _Lossy(io.FileIO):
    """Descriptor 2: nobody is left to be told that it fails."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _replaced(error: UnicodeError, keep: bool) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # One at a time: bytes and text cannot be mixed in one answer.
    code = ord(error.object[error.start])
    if code not in _ESCAPED:
        return "?", error.start + 1
    byte = code & 0xFF
    return (bytes([byte]) if keep else f"\\x{byte:02x}"), error.start + 1


codecs.register_error(SHOWN, lambda error: _replaced(error, keep=False))
codecs.register_error(KEPT, lambda error: _replaced(error, keep=True))
