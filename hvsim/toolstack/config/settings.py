"""The values of a config by their keys, read as xl reads them: with its warnings, in C's numbers.

A value that is not of the kind that its key wants is as good as none; xl says so and goes on.
"""

import os
from collections.abc import Iterable
from typing import Final

from hvsim.abi import errno
from hvsim.toolstack.config.numbers import c_number
from hvsim.toolstack.config.syntax import Setting, Value, parse_text

LONG_MAX: Final = (1 << 63) - 1
LONG_MIN: Final = -(1 << 63)


class Settings:
    """What a config says.

    Attributes:
        source: the file's name as it is to appear in messages.
        values: by key.
        warnings: what xl has said so far and yet went on.
    """

    def __init__(self, values: dict[str, Setting], source: str) -> None:
        self.source = source
        self.values = values
        self.warnings: list[str] = []

    def warn(self, *lines: str) -> None:
        """Say it and go on."""
        self.warnings += lines

    def text(self, key: str, *, quiet: bool = False) -> str | None:
        """The single value of *key*; None without one, for a list with a warning."""
        setting = self.values.get(key)
        if setting is None:
            return None
        if isinstance(setting.value, list):
            if not quiet:
                self._warn(setting, "is a list but should be a single value")
            return None
        return setting.value

    def number(self, key: str, *, quiet: bool = False) -> int | None:
        """The number that *key* has, in C notation; None without one, or with a warning."""
        text = self.text(key, quiet=quiet)
        if text is None:
            return None
        setting = self.values[key]
        number = self._number(text, setting, quiet)
        if number is not None and setting.added:
            if not quiet:
                self.warn(
                    f"{self.source}:{setting.line}: warning: can't use += with numbers for "
                    f"parameter `{key}'"
                )
            return None
        return number

    def _number(self, text: str, setting: Setting, quiet: bool) -> int | None:
        parsed = c_number(text)
        if parsed is None or parsed[1] != len(text):
            complaint = "is not a valid number"
        elif not LONG_MIN <= parsed[0] <= LONG_MAX:
            complaint = f"could not be parsed as a number: {os.strerror(errno.ERANGE)}"
        else:
            return parsed[0]
        if not quiet:
            self._warn(setting, complaint)
        return None

    def flag(self, key: str) -> bool | None:
        """Whether the number of *key* is another than zero; None without one."""
        number = self.number(key)
        return None if number is None else number != 0

    def rows(self, key: str, *, quiet: bool = False) -> list[Value] | None:
        """The list that *key* has; None without one, for a single value with a warning."""
        setting = self.values.get(key)
        if setting is None:
            return None
        if isinstance(setting.value, str):
            if not quiet:
                self._warn(setting, "is a single value but should be a list")
            return None
        return setting.value

    def texts(self, key: str) -> list[str]:
        """The texts of the list of *key*, up to the first entry that is a list itself."""
        found: list[str] = []
        for row in self.rows(key) or []:
            if isinstance(row, list):
                break
            found.append(row)
        return found

    def place(self, key: str) -> str:
        """Where the value of *key* stands."""
        return f"{self.source}:{self.values[key].line}"

    def _warn(self, setting: Setting, what: str) -> None:
        self.warn(f"{self.place(setting.key)}: warning: parameter `{setting.key}' {what}")


def parse_settings(text: str, source: str, overrides: Iterable[str] = ()) -> Settings:
    """Parse a config.

    Args:
        source: the file's name for messages.
        overrides: further lines, as ``xl create FILE key=value`` takes them; xl puts them behind
            the file's and counts their lines on from it.

    Raises: ConfigError with every error found, and xl's closing line; exit code 1.
    """
    more = list(overrides)
    whole = "\n".join([text, *more, "", ""]) if more else text
    return Settings(parse_text(whole, source), source)
