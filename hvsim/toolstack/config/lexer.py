"""Tokens of xl.cfg(5), as xl's own lexer cuts them (tools/libs/util/libxlu_cfg_l.l).

A config is a row of ``key = value`` lines; a value is a string, a number, or a list in square
brackets, within which line ends mean nothing.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

IDENT: Final = "IDENT"
STRING: Final = "STRING"
NUMBER: Final = "NUMBER"
NEWLINE: Final = "NEWLINE"
ADD: Final = "+="
END: Final = "end of file"
BAD: Final = "lexical error"
"""A token that cannot be one; it was reported, and stands where a value was meant."""

_TOKEN: Final = re.compile(
    r"""(?P<IDENT>[a-zA-Z][a-zA-Z0-9_]*)
      | (?P<NUMBER>[0-9][0-9a-fA-FxX]*)
      | (?P<STRING>'[^'\n]*'|"[^"\n]*")
      | (?P<ADD>\+=)
      | (?P<PUNCT>[,\[\]=;])
      | (?P<NEWLINE>\r?\n)
      | (?P<SKIP>[ \t]+|\#[^\n]*|\r(?=\n))
      | (?P<BAD>[^\n]+)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """One token: its kind (a constant of this module, or the quoted sign such as ``'='``), its
    text as written, and the line that it begins on."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> Iterator[Token]:
    """Cut *text* into tokens, the last of which is END.  Never fails: see BAD."""
    line = 1
    depth = 0
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup, match.group()
        if kind == "NEWLINE":
            if not depth:
                yield Token(NEWLINE, word, line)
            line += 1
        elif kind == "PUNCT":
            depth = max(0, depth + (word == "[") - (word == "]"))
            yield Token(f"'{word}'", word, line)
        elif kind == "ADD":
            yield Token(ADD, word, line)
        elif kind == "BAD":
            yield Token(BAD, word.rstrip(), line)
        elif kind != "SKIP":
            yield Token(kind or "", word, line)
    yield Token(END, "", line)
