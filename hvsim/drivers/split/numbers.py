"""Numbers that a peer wrote into the store: read as coming from a stranger."""

from __future__ import annotations

from typing import Final

from hvsim.names.number import unsigned

U32: Final = (1 << 32) - 1
U64: Final = (1 << 64) - 1


def number(text: str | None, default: int = 0, *, most: int = U32) -> int:
    """A number of at most `most`; `default` for anything that is none, or is absurdly long."""
    value = unsigned(text, most)
    return default if value is None else value


def flag(text: str | None) -> bool:
    """Whether a feature's number says yes; no for anything that is none."""
    return number(text) != 0
