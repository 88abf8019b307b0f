"""Typed messages: what two of our processes tell each other at birth, declared once.

A message is a frozen class with a type for each field.  Whoever sends it makes one and calls
:func:`write`; whoever gets it calls :func:`read`, which checks every field against its type.  What
is missing, unknown or of the wrong kind is named by its place (``dom0.processes[2].files``).
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from hvsim.wire.packing import BadMessage as BadMessage

M = TypeVar("M")
S = TypeVar("S", bound="Message")

_WRONG: Final = re.compile(r"(.*?)(?: - at (?:`key` in )?`\$\.?(.*)`)?", re.DOTALL)
"""What msgspec says: what is wrong, and where."""


class Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The base of all; what has its default is not sent."""


class Word(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The base of the short ones of a conversation: ``[name, value, ...]``, the name is its tag."""


def read(kind: type[M], raw: object) -> M:
    """The message of that kind, or of one of those kinds, that *raw*, unpacked, is.

    Raises: BadMessage.
    """
    try:
        return msgspec.convert(raw, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as wrong:
        found = _WRONG.fullmatch(str(wrong))
        raise BadMessage(*(found.groups("") if found else (str(wrong),))) from None


def words(message: Word) -> list[object]:
    """The message as a list that can be packed."""
    raw: list[object] = msgspec.to_builtins(message, builtin_types=(bytes,))
    return raw


def write(message: Message) -> dict[str, Any]:
    """The message as a map that can be packed."""
    raw: dict[str, Any] = msgspec.to_builtins(message, builtin_types=(bytes,))
    return raw


def changed(message: S, **fields: Any) -> S:
    """The same message with some fields changed."""
    return msgspec.structs.replace(message, **fields)


Table = Mapping[str, Any]
"""A part of a message whose meaning only its last reader knows (a program's arguments)."""
