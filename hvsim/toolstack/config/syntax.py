"""The grammar of xl.cfg(5): from text to assignments, with the error texts of xl's parser.

xl's parser is made by bison from a grammar of a dozen rules.  After an error it skips to the line's
end, and stays silent until three tokens in a row have made sense; a value that is followed by
anything but a line end or ``;`` ends it at once.  Both is kept, so that the same faults are told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.lexer import (
    ADD,
    END,
    IDENT,
    NEWLINE,
    NUMBER,
    STRING,
    Lexer,
    Token,
    near,
)

Value = str | list["Value"]
"""A value as written: strings and numbers are both text here, lists may be nested."""

MAX_DEPTH: Final = 100
"""Lists within lists that are accepted."""
_SILENCE: Final = 3
"""Tokens that must make sense in a row before an error is told again."""
_LINE_ENDS: Final = (NEWLINE, "';'")
PYTHON: Final = (
    "warning: Config file looks like it contains Python code.",
    "warning:  Arbitrary Python is no longer supported.",
    "warning:  See https://wiki.xen.org/wiki/PythonInXlConfig",
)
FAILED: Final = "Failed to parse config: Invalid argument"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with its value and the line where the value begins.

    Attributes:
        added: the value was made by ``+=``.
    """

    key: str
    value: Value
    line: int
    added: bool = False


class _SyntaxError(Exception):
    """This line makes no sense; it was reported."""


class _Over(Exception):
    """The parser gives up."""


class _Parser:
    """One reading of one text."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._lexer = Lexer(text, self._report_lexical, lambda: bool(self.errors))
        self._stream: Iterator[Token] = self._lexer.tokens()
        self._ahead: Token | None = None
        self._last = Token(END, "", 1, "")
        self._silent = 0
        self._lexical_line = 0
        self.settings: dict[str, Setting] = {}
        self.errors: list[str] = []

    def run(self) -> None:
        """Read it all."""
        try:
            while self._peek().kind != END:
                try:
                    self._statement()
                except _SyntaxError:
                    self._recover()
        except _Over:
            pass
        if self.errors and self._lexer.python:
            self.errors += PYTHON

    # -- grammar -----------------------------------------------------------------------------

    def _statement(self) -> None:
        if self._peek().kind in _LINE_ENDS:
            self._shift()
            return
        key = self._expect(IDENT, f"{END} or {IDENT} or {NEWLINE} or ';'")
        operator = self._peek()
        if operator.kind not in ("'='", ADD):
            self._unexpected(f"{ADD} or '='")
        self._shift()
        line = self._peek().line
        value = self._value(f"{STRING} or {NUMBER} or '['", 0)
        self._store(key.value, operator.kind, value, line)
        if self._peek().kind in _LINE_ENDS:
            self._shift()
        elif self._peek().kind != END:
            self._complain(END)
            raise _Over

    def _value(self, expected: str, depth: int) -> Value:
        token = self._peek()
        if token.kind in (STRING, NUMBER):
            self._shift()
            return token.value
        if token.kind != "'['":
            self._unexpected(expected)
        if depth >= MAX_DEPTH:
            self._say("memory exhausted", token.text, token.line)
            raise _Over
        self._shift()
        self._newlines()
        items: list[Value] = []
        while self._peek().kind in (STRING, NUMBER, "'['"):
            items.append(self._value("", depth + 1))
            self._newlines()
            if self._peek().kind != "','":
                break
            self._shift()
            self._newlines()
        self._expect("']'", "']'")
        return items

    def _newlines(self) -> None:
        while self._peek().kind == NEWLINE:
            self._shift()

    def _store(self, key: str, operator: str, value: Value, line: int) -> None:
        if self.errors:
            return  # nobody will look at it
        old = self.settings.get(key)
        if operator == ADD and old is not None:
            if isinstance(old.value, list) != isinstance(value, list):
                message = 'can\'t add [list] to "string" or vice versa'
                self._report_lexical(message, self._last.text, self._last.line)
                return
            value = old.value + value  # type: ignore[operator]
        self.settings[key] = Setting(key, value, line, operator == ADD)

    # -- tokens and errors -------------------------------------------------------------------

    def _peek(self) -> Token:
        if self._ahead is None:
            self._ahead = self._last = next(self._stream)
        return self._ahead

    def _shift(self) -> Token:
        token, self._ahead = self._peek(), None
        self._silent -= self._silent > 0
        return token

    def _expect(self, kind: str, expected: str) -> Token:
        if self._peek().kind != kind:
            self._unexpected(expected)
        return self._shift()

    def _unexpected(self, expected: str) -> None:
        self._complain(expected)
        raise _SyntaxError

    def _complain(self, expected: str) -> None:
        token = self._peek()
        if not self._silent:
            message = f"syntax error, unexpected {token.kind}, expecting {expected}"
            self._report(message, token.text, token.line)

    def _recover(self) -> None:
        """Skip to the line's end."""
        self._silent = _SILENCE
        while self._peek().kind != NEWLINE:
            if self._peek().kind == END:
                raise _Over
            self._ahead = None
        self._shift()

    def _report_lexical(self, message: str, text: str, line: int) -> None:
        self._report(message, text, line)
        self._lexical_line = max(self._lexical_line, line)

    def _report(self, message: str, text: str, line: int) -> None:
        """Tell of an error, unless a lexical one was told of this line."""
        if line > self._lexical_line:
            self._say(message, text, line)

    def _say(self, message: str, text: str, line: int) -> None:
        where, line = near(text, line)
        self.errors.append(f"{self._source}:{line}: config parsing error near {where}: {message}")


def parse_text(text: str, source: str) -> dict[str, Setting]:
    """What a config says, the later of two settings of one key; *source* begins its messages.

    Raises: ConfigError with every error found, and xl's closing line; exit code 1.
    """
    parser = _Parser(_bytes(text), source)
    parser.run()
    if parser.errors:
        raise ConfigError(*map(_text, parser.errors), FAILED)
    return {
        key: Setting(key, _value(one.value), one.line, one.added)
        for key, one in parser.settings.items()
    }


def _bytes(text: str) -> str:
    """One character for each byte: a lexical error begins with a byte, not with a letter."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _text(raw: str) -> str:
    return raw.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _value(value: Value) -> Value:
    return [_value(item) for item in value] if isinstance(value, list) else _text(value)
