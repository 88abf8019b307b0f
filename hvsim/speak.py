"""The one door to a person's standard output and error.

What goes through is lines, and each is made printable as a whole: a line break inside of one is
escaped like every other control character.  So a text that holds what a domain wrote cannot become
two lines, and who writes a listing hands over its lines and never joins them.  Only what is meant
as it is goes past: a program's own output (``hvsim exec``, ``hvsim xl console``), captured frames.

``tests/repository/test_speak.py`` finds whoever prints by himself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, TextIO

from hvsim.printable import as_json, line, log_lines, printable

LONGEST: Final = 2000
"""Characters of a line on standard error."""
CLEAR: Final = "\x1b[K"
"""To the end of the line (ECMA-48 EL)."""


def say(*lines: str) -> None:
    """Lines for the reader, out at once."""
    _write(sys.stdout, "".join(f"{line(one)}\n" for one in lines))


def tell(*texts: str) -> None:
    """Sentences for the reader: on a terminal each is folded at its width, at blanks."""
    say(*(part for text in texts for part in folded(line(text), _columns(sys.stdout))))


def folded(text: str, width: int) -> list[str]:
    """The lines of *text*, of at most *width* characters where its blanks allow it; those behind
    the first are indented by two more than it.  0: as it is."""
    lines = []
    indent = len(text) - len(text.lstrip(" ")) + 2
    while 0 < width < len(text):
        cut = text.rfind(" ", indent, width + 1)
        if cut < 0 or not text[:cut].strip():
            break
        lines.append(text[:cut].rstrip())
        text = " " * indent + text[cut:].lstrip()
    return [*lines, text]


def say_exactly(text: str) -> None:
    """A line for a program, as it is, with bytes that are no text; a person's terminal gets it as
    from :func:`say`.  For what the lab's owner has named, never for what a domain wrote."""
    if is_terminal():
        say(text)
    else:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def warn(*lines: str) -> None:
    """Sentences on standard error, folded as by :func:`tell`.  Of one that somebody else's word
    makes too long the middle is left out: place and remedy stand at its ends."""
    width = _columns(sys.stderr)
    parts = (part for one in lines for part in folded(_shortened(line(one)), width))
    _write(sys.stderr, "".join(f"{part}\n" for part in parts))


def say_json(value: Any, indent: int | None = 2) -> None:
    """*value* as JSON in ASCII."""
    _write(sys.stdout, as_json(value, indent) + "\n")


def note(text: str) -> None:
    """An entry of this process's own log, which is its standard error.  A trace of calls or what
    somebody else wrote may follow in further lines: those are indented.

    Never raises: what a full disk does not take is lost, and the process goes on.
    """
    with contextlib.suppress(OSError):
        _write(sys.stderr, log_lines(text) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of aligned columns with a head line."""
    texts = [list(head), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]


def tell_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The same for the reader: on a terminal the last column, of sentences, is folded."""
    lines = table(head, rows)
    indent = lines[0].rindex(head[-1])
    width = max(0, _columns(sys.stdout) - indent)
    for one in lines:
        first, *more = folded(one[indent:], width)
        say(one[:indent] + first, *(" " * indent + part for part in more))


def counter(text: str) -> None:
    """A line that replaces itself on a terminal; elsewhere it is left out.  "" ends it."""
    if is_terminal():
        _write(sys.stdout, f"\r{line(text)}{CLEAR}")


def is_terminal() -> bool:
    """Whether standard output is one."""
    return sys.stdout is not None and sys.stdout.isatty()


def _columns(stream: TextIO | None) -> int:
    """Of the terminal that *stream* is; 0 where it is none."""
    if stream is None or not stream.isatty():
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return 0


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 4 :]}"


def _write(stream: TextIO | None, text: str) -> None:
    """At once.  What the stream's encoding does not have, its own error handler shows
    (``hvsim.surroundings``); a stream that was closed before the program began says nothing."""
    if stream is None:
        return
    if getattr(stream, "errors", "strict") == "strict":
        encoding = stream.encoding or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    stream.write(text)
    stream.flush()
