"""Tokens of xl.cfg(5), cut as xl's own lexer cuts them.

A config is a row of ``key = value`` lines; a value is a string, a number, or a list in square
brackets, within which line ends mean nothing.  What fits no token is a *lexical error*: it is
reported and passed over, so that a parser never sees it.

The texts are those of the installed xl, found by comparing (tests/config): also where they are
odd, such as an octal escape that adds nothing to its string.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

IDENT: Final = "IDENT"
STRING: Final = "STRING"
NUMBER: Final = "NUMBER"
NEWLINE: Final = "NEWLINE"
ADD: Final = "+="
END: Final = "$end"

_TOKEN: Final = re.compile(
    r"""(?P<IDENT>[a-z][a-z0-9_.]*)
      | (?P<NUMBER>[0-9][0-9a-fx]*)
      | (?P<STRING>'(?:[^'\\\n]|\\[^\n])*'|"(?:[^"\\\n]|\\[^\n])*")
      | (?P<ADD>\+=)
      | (?P<PUNCT>[,\[\]=;])
      | (?P<NEWLINE>(?:\#[^\n]*)?\n)
      | (?P<BLANK>[ \t])""",
    re.VERBOSE,
)
_NONSENSE: Final = re.compile(r"[^ \t\n]+|[ \t\n]")
"""What a lexical error takes with it, after its first character."""
_PYTHON: Final = "()+-.:"
"""What begins a lexical error in configs of the days when they were Python."""
_ESCAPES: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip
_OCTAL: Final = re.compile(r"[0-7](?:[\t\v\f\r +-]|[0-9])[0-9]")

Report = Callable[[str, str, int], None]
"""What is wrong, the text that it is wrong with, the line that is said (see `near`)."""


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: a constant of this module, or the quoted sign such as ``'='``.
        text: as written.
        line: of its beginning, from 1.
        value: of a string, without quotes and escapes; else as `text`.
    """

    kind: str
    text: str
    line: int
    value: str


class Lexer:
    """The tokens of one text.

    Attributes:
        python: something was met that looks like Python.
    """

    def __init__(self, text: str, report: Report, failed: Callable[[], bool]) -> None:
        """*text* has one character for each byte; *report* is told of lexical errors; *failed* says
        whether anything was, upon which nobody looks at values any more."""
        self._text = text
        self._report = report
        self._failed = failed
        self.python = False

    def tokens(self) -> Iterator[Token]:
        """Each token, the last of which is END."""
        text, at, line = self._text, 0, 1
        last, pending = 1, ""
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                at, pending = self._nonsense(at, line)
                last = last if pending else line
                continue
            at = match.end()
            kind, word = match.lastgroup or "", match.group()
            if kind == "BLANK":
                continue
            last = line
            if kind == "PUNCT":
                yield Token(f"'{word}'", word, line, word)
            elif kind == "ADD":
                yield Token(ADD, word, line, word)
            elif kind == "STRING":
                yield Token(STRING, word, line, self._unquoted(word, line))
            else:
                yield Token(kind, word, line, word)
                line += kind == "NEWLINE"
        # The scanner ends on a byte of its own, which a message shows as nothing in quotes.
        yield Token(END, f"{pending}\0", last, "")

    def _nonsense(self, at: int, line: int) -> tuple[int, str]:
        """Report what begins at *at*; returns where to go on, and what is left unsaid at the end
        of the text."""
        first = self._text[at]
        self.python = self.python or first in _PYTHON
        match = _NONSENSE.match(self._text, at + 1)
        if match is None:
            return at + 1, first
        rest = match.group()
        if rest == "\n":  # it is a token yet, but the scanner has counted it
            self._report("lexical error", first + rest, line + 1)
            return at + 1, ""
        self._report("lexical error", first + rest, line)
        return match.end(), ""

    def _unquoted(self, word: str, line: int) -> str:
        """The value of a string in quotes."""
        if self._failed():
            return ""
        inner = word[1:-1]
        value, at = [], 0
        while at < len(inner):
            char = inner[at]
            at += 1
            if char != "\\":
                value.append(char)
                continue
            char = inner[at]
            if char in _ESCAPES:
                value.append(_ESCAPES[char])
                at += 1
                continue
            if match := _OCTAL.match(inner, at):
                at = match.end()  # as in xl, the character that it means is lost
                continue
            kind = "octal" if char in "01234567" else "hex" if char == "x" else ""
            self._report(
                f"invalid digit after backslash {kind}numerical character escape in quoted string"
                if kind
                else "invalid character after backlash in quoted string",
                word,
                line,
            )
            return ""
        return "".join(value)


def near(text: str, line: int) -> tuple[str, int]:
    """How a message says where *text* is, and on which line; blanks at its end do not count, and a
    line end says that it was the line before."""
    newline = ""
    if text.endswith("\n"):
        text, line = text[:-1], line - 1
        newline = "" if text else "<newline>"
    text = text.rstrip("\t ")
    return (f"`{text.partition(chr(0))[0]}'" if text else "") + newline, line
