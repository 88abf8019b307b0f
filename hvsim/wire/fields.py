"""The fields of a message that came as a map, read and checked by name.

Every message between our own processes is read with these, so that a wrong one is told in one way:
the field, what is wanted there, and what was found.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["Fields", "WrongMessage"]

_REQUIRED: Final = object()


class WrongMessage(ValueError):
    """A message that cannot be followed.  The text names the field at fault and what is wanted."""


class Fields:
    """One map of a message.

    A field that is absent or None takes the default; without a default it is wanted.

    Args:
        raw: what came.
        what: the name of the map in errors: "the boot config", or the field that holds it.

    Raises:
        WrongMessage: it is no map.  So do all methods, of a field that is of another kind.
    """

    def __init__(self, raw: object, what: str) -> None:
        if not isinstance(raw, dict):
            raise WrongMessage(f"{what}: a map is wanted, not {raw!r}")
        self.raw: Mapping[str, object] = raw

    def text(self, key: str, default: object = _REQUIRED) -> str:
        """A text."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise WrongMessage(f"{key}: a text is wanted, not {value!r}")
        return value

    def optional(self, key: str) -> str | None:
        """A text, or None."""
        return None if self.raw.get(key) is None else self.text(key)

    def number(self, key: str, default: object = _REQUIRED, least: int | None = None) -> int:
        """A whole number from ``least``; a truth value is none."""
        value = self._value(key, default)
        if type(value) is not int or (least is not None and value < least):
            bound = "" if least is None else f" from {least}"
            raise WrongMessage(f"{key}: a number{bound} is wanted, not {value!r}")
        return value

    def items(self, key: str) -> list[object]:
        """A list of whatever; empty by default."""
        value = self._value(key, [])
        if not isinstance(value, list | tuple):
            raise WrongMessage(f"{key}: a list is wanted, not {value!r}")
        return list(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty by default."""
        texts = tuple(item for item in self.items(key) if isinstance(item, str))
        if len(texts) != len(self.items(key)):
            raise WrongMessage(f"{key}: a list of texts is wanted, not {self.raw[key]!r}")
        return texts

    def table(self, key: str) -> Mapping[str, object]:
        """A map by names; empty by default."""
        value = self._value(key, {})
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise WrongMessage(f"{key}: a map is wanted, not {value!r}")
        return value

    def names(self, key: str) -> dict[str, str]:
        """A map of texts to texts; empty by default."""
        table = self.table(key)
        texts = {name: value for name, value in table.items() if isinstance(value, str)}
        if len(texts) != len(table):
            raise WrongMessage(f"{key}: a map of texts to texts is wanted, not {table!r}")
        return texts

    def _value(self, key: str, default: object) -> object:
        value = self.raw.get(key)
        if value is None and default is not _REQUIRED:
            return default
        return value
