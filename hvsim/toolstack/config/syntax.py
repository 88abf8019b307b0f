"""The grammar of xl.cfg(5): from text to settings, with the error texts of xl's parser.

Every error of a config is reported, one for each line, as xl does: a bad line is skipped to its
end and the next one is read.  Source: tools/libs/util/libxlu_cfg_y.y.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.lexer import (
    ADD,
    BAD,
    END,
    IDENT,
    NEWLINE,
    NUMBER,
    STRING,
    Token,
    tokens,
)

Value = str | list["Value"]
"""A value as written: strings and numbers are both text here, lists may be nested."""

MAX_DEPTH: Final = 32
"""Lists within lists that are accepted."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with its value and the line where it stands (0 for one from the command line)."""

    key: str
    value: Value
    line: int


@dataclass(slots=True)
class Settings:
    """What a config says; of two settings of one key the later counts, ``+=`` adds to it.

    Attributes:
        source: the file's name as it is to appear in messages.
        warnings: what xl prints and yet goes on.
    """

    source: str
    values: dict[str, Setting] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def text(self, key: str) -> str | None:
        """The single value of *key*, None without one (a list is one with a warning)."""
        setting = self.values.get(key)
        if setting is None:
            return None
        if isinstance(setting.value, list):
            self._warn(setting, "is a list but should be a single value")
            return None
        return setting.value

    def number(self, key: str) -> int | None:
        """The number that *key* has, in C notation; None without one, or with a warning."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return int(text, 0)
        except ValueError:
            try:
                return int(text)  # C reads 010 as eight; so does nobody who writes memory=010
            except ValueError:
                self._warn(self.values[key], "is not a valid number")
                return None

    def flag(self, key: str) -> bool:
        """Whether *key* is set to a number other than zero."""
        return bool(self.number(key))

    def items(self, key: str) -> list[str]:
        """The texts of a list; a single value is a list of one; inner lists are left out."""
        setting = self.values.get(key)
        if setting is None:
            return []
        if isinstance(setting.value, str):
            return [setting.value]
        return [item for item in setting.value if isinstance(item, str)]

    def _warn(self, setting: Setting, what: str) -> None:
        place = f"{self.source}:{setting.line}"
        self.warnings.append(f"{place}: warning: parameter `{setting.key}' {what}")


class _SyntaxError(Exception):
    """The rest of this line makes no sense; it was reported."""


class _Parser:
    def __init__(self, stream: Iterable[Token], source: str, errors: list[str]) -> None:
        self._stream: Iterator[Token] = iter(stream)
        self._source = source
        self._errors = errors
        self._token = next(self._stream)

    def settings(self) -> Iterator[tuple[str, str, Value, int]]:
        """(key, operator, value, line) of each assignment."""
        while self._token.kind != END:
            try:
                if self._token.kind in (NEWLINE, "';'"):
                    self._next()
                    continue
                yield self._assignment()
                if self._token.kind not in (NEWLINE, "';'", END):
                    self._unexpected(NEWLINE, "';'")
            except _SyntaxError:
                while self._token.kind not in (NEWLINE, END):
                    self._next()

    def _assignment(self) -> tuple[str, str, Value, int]:
        key = self._token
        if key.kind == BAD:
            self._lexical()
            raise _SyntaxError
        if key.kind != IDENT:
            self._unexpected(IDENT, NEWLINE, "';'")
        self._next()
        operator = self._token.kind
        if operator not in ("'='", ADD):
            self._unexpected("'='", ADD)
        self._next()
        return key.text, operator, self._value(0), key.line

    def _value(self, depth: int) -> Value:
        token = self._token
        if token.kind == BAD:
            self._lexical()
            return ""
        if token.kind == STRING:
            self._next()
            return token.text[1:-1]
        if token.kind == NUMBER:
            self._next()
            return token.text
        if token.kind != "'['" or depth >= MAX_DEPTH:
            self._unexpected(STRING, NUMBER, "'['")
        self._next()
        items: list[Value] = []
        while self._token.kind != "']'":
            items.append(self._value(depth + 1))
            if self._token.kind == "','":
                self._next()
            elif self._token.kind != "']'":
                self._unexpected("','", "']'")
        self._next()
        return items

    def _next(self) -> None:
        if self._token.kind != END:
            self._token = next(self._stream)

    def _lexical(self) -> None:
        self._report(self._token, "lexical error")
        self._next()

    def _unexpected(self, *expected: str) -> None:
        token = self._token
        kind = token.kind if token.kind != BAD else "$undefined"
        message = f"syntax error, unexpected {kind}, expecting {' or '.join(expected)}"
        self._report(token, message)
        raise _SyntaxError

    def _report(self, token: Token, message: str) -> None:
        text = token.text.strip()
        near = f" near `{text}'" if text else " near <newline>" if token.kind == NEWLINE else ""
        self._errors.append(f"{self._source}:{token.line}: config parsing error{near}: {message}")


def parse_settings(text: str, source: str, overrides: Iterable[str] = ()) -> Settings:
    """Parse a config.

    Args:
        source: the file's name for messages.
        overrides: further lines, as ``xl create FILE key=value`` takes them.

    Raises: ConfigError with every error found, and xl's closing line; exit code 1.
    """
    settings = Settings(source)
    errors: list[str] = []
    parts = [(text, source, False)]
    parts += [(line, "command line", True) for line in overrides]
    for part, name, override in parts:
        for key, operator, value, line in _Parser(tokens(part), name, errors).settings():
            old = settings.values.get(key)
            if operator == ADD and old is not None:
                value = _add(old.value, value)
            settings.values[key] = Setting(key, value, 0 if override else line)
    if errors:
        raise ConfigError(*errors, "Failed to parse config: Invalid argument")
    return settings


def _add(old: Value, new: Value) -> Value:
    """What ``+=`` makes: strings are joined, lists continued; of two kinds the new one counts."""
    if isinstance(old, list) and isinstance(new, list):
        return old + new
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    return new
