"""What somebody else wrote, made fit to be shown to a person.  Pure.

A domain chooses texts that people see: its health, the error nodes of its devices, names, paths,
what it writes into the hypervisor's console.  Shown as they are they could move the cursor, repaint
the screen, turn the order of letters around, hide a part of themselves, or begin a new line that
looks like one of ours.  So whatever is shown passes through :func:`printable` (``hvsim.speak`` sees
to it), and afterwards it is one line of letters, marks and blanks.

What is escaped: control characters (C0, DEL, C1), the line and paragraph separators, everything of
Unicode's category "other" (the bidirectional controls and most zero-width characters are "format"),
blanks that are not U+0020, all that is invisible by default, and bytes that are not UTF-8.  Letters
of any script stay.

Sources: Unicode UAX #44 (General_Category, Default_Ignorable_Code_Point), UAX #9 on bidirectional
controls; ECMA-48 for what C0 and C1 do to a terminal.
"""

from __future__ import annotations

from typing import Any, Final

INVISIBLE: Final = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Ranges of characters that show nothing and are no format characters: those of
Default_Ignorable_Code_Point, and the empty Braille pattern."""
_NAMED: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MARK: Final = "    "
ECHOED: Final = 60
"""Characters of a word that is repeated to who typed it: enough to know it again."""


def printable(text: str | bytes) -> str:
    """*text* as one line that can be shown anywhere.  What it returns it leaves as it is.

    Bytes that are not UTF-8, also as ``surrogateescape`` keeps them, become ``\\xNN``; other
    characters ``\\xNN`` below 0x80, else ``\\uNNNN`` or ``\\UNNNNNNNN``.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable():  # all from " " to "~"
        return text
    return "".join(map(_escape, text))


def echoed(text: str) -> str:
    """What somebody has typed, quoted in a sentence about it; of a long one its beginning."""
    return repr(text if len(text) <= ECHOED else f"{text[:ECHOED]}...")


def line(text: str) -> str:
    """As :func:`printable`, for a whole line of ours: it may hold tabs, as some of xl's do."""
    return "\t".join(map(printable, text.split("\t"))) if "\t" in text else printable(text)


def quoted(text: str | bytes, mark: str = _MARK) -> list[str]:
    """The lines of somebody else's text of several lines, each behind *mark*, so that none can be
    taken for a line of ours."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return [f"{mark}{printable(part)}".rstrip() for part in text.rstrip("\n").split("\n")]


def log_lines(text: str) -> str:
    """An entry of a log: whatever it is about, only its first line begins at the margin."""
    first, *more = text.split("\n")
    return "\n".join([line(first), *(f"{_MARK}{line(part)}".rstrip() for part in more)])


def as_json(value: Any, indent: int | None = 2) -> str:
    """JSON in ASCII, DEL escaped as well, for programs and for whoever looks at it."""
    import json  # few commands print any

    return json.dumps(value, indent=indent, default=repr).replace("\x7f", "\\u007f")


def _escape(char: str) -> str:
    code = ord(char)
    if char.isprintable() and not any(first <= code <= last for first, last in INVISIBLE):
        return char
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"
