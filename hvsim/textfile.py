"""Reading a text file that a person has named: a lab file, a guest's config.

What stands under a name may be anything: a directory, a FIFO that nobody writes into, an endless
device, a file of any size.  None of them makes anybody wait, and each is refused by what it is.
"""

from __future__ import annotations

import os
import stat
from typing import Final

MAX: Final = 1 << 20
"""Bytes that a lab file or a guest's config has at most."""
_KINDS: Final = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a FIFO, and no file"),
    (stat.S_ISSOCK, "is a socket, and no file"),
    (stat.S_ISCHR, "is a device, and no file"),
    (stat.S_ISBLK, "is a device, and no file"),
)
_NULL: Final = os.makedev(1, 3)


class Unreadable(Exception):
    """A file that is no text to be read; the text says why, after the file's name."""


def read(path: str | os.PathLike[str], errors: str = "strict") -> str:
    """The text of a file, with its line ends as they are.

    Args:
        errors: what is done with bytes that are not UTF-8: "strict" refuses them.

    Raises: FileNotFoundError; Unreadable for everything else.
    """
    try:
        # O_NONBLOCK: a FIFO is opened, looked at and refused; of a file it says nothing.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise Unreadable("has a NUL character in its name") from None
    try:
        data = _content(fd)
    finally:
        os.close(fd)
    try:
        text = data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable(f"is not UTF-8 text (line {line})") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Unreadable(f"holds a NUL character (line {line}): is it a text?")
    return text


def _content(fd: int) -> bytes:
    info = os.fstat(fd)
    if stat.S_ISCHR(info.st_mode) and info.st_rdev == _NULL:
        return b""  # `xl create /dev/null name="x" ...` is an idiom
    for is_kind, what in _KINDS:
        if is_kind(info.st_mode):
            raise Unreadable(what)
    parts = []
    size = 0
    try:
        while part := os.read(fd, MAX + 1 - size):
            parts.append(part)
            size += len(part)
            if size > MAX:
                raise Unreadable(f"is larger than {MAX >> 20} MiB")
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    return b"".join(parts)
