"""Numbers as text: what a peer wrote into the store, or a person on a command line."""

from typing import Final

UINT32_MAX: Final = (1 << 32) - 1
_DIGITS: Final = frozenset("0123456789")


def unsigned(text: str | None, most: int = UINT32_MAX) -> int | None:
    """The decimal number that *text* is; None for anything else, and for one above *most*.

    Digits of other scripts, signs, blanks and underscores are no numbers here, and a text that is
    longer than the greatest number is not looked at.
    """
    if not text or len(text) > len(str(most)) or not _DIGITS.issuperset(text):
        return None
    number = int(text)
    return number if number <= most else None


def from_digits(digits: str, base: int = 10) -> int:
    """The number that *digits* are, all of which belong to *base*; with more of them than the
    number of any machine has, a number that is greater than all of these."""
    bare = digits.lstrip("0")
    return int(bare or "0", base) if len(bare) <= _DIGITS_MAX else 1 << 128


_DIGITS_MAX: Final = 64
