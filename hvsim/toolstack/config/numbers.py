"""Numbers as C reads them from text (strtol, atoi)."""

import re
from typing import Final

from hvsim.names.number import from_digits

_INT_MAX: Final = (1 << 31) - 1
_C_NUMBER: Final = re.compile(
    r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))"
)


def c_number(text: str) -> tuple[int, int] | None:
    """What strtol(3) makes of the beginning of *text*, any base, and where it stopped; None when
    there is no number.  ``08`` is 0 and stops at the 8."""
    match = _C_NUMBER.match(text)
    if match is None:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    number = (
        from_digits(hexadecimal, 16)
        if hexadecimal is not None
        else from_digits(octal, 8)
        if octal is not None
        else from_digits(decimal)
    )
    return (-number if sign == "-" else number), match.end()


def atoi(text: str) -> int:
    """C's atoi(3)."""
    match = re.match(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)", text)
    if match is None:
        return 0
    number = min(from_digits(match[2]), _INT_MAX)
    return -number if match[1] == "-" else number
