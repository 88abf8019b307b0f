"""Addresses of network interfaces: 48 bits as six pairs of hexadecimal digits with colons."""

import re
from typing import Final

LENGTH: Final = 6
"""Bytes."""
OUI: Final = "00:16:3e"
"""The first half of every made-up address (Xen's own)."""

_CANONICAL: Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_LOOSE: Final = re.compile(r"[ \t\v\f\r]*[+]?(?:0[xX])?([0-9a-fA-F]+)")


def read(text: str) -> tuple[bytes, bool]:
    """The address that a person wrote, and whether it was one: else what came before the mistake,
    and zeros.

    As in xl each of the six parts is a hexadecimal number of one or more digits, any one sign may
    stand between them, and what follows the sixth is not looked at: ``0-16-3E-0-0-1``.
    """
    found = bytearray(LENGTH)
    at = 0
    for number in range(LENGTH):
        match = _LOOSE.match(text, at)
        if match is None or int(match[1], 16) > 0xFF:
            return bytes(found), False
        found[number] = int(match[1], 16)
        at = match.end() + 1
    return bytes(found), True


def parse(text: str) -> str | None:
    """The address that a person wrote in its usual form, None when it is none: see `read`."""
    address, whole = read(text)
    return text_of(address) if whole else None


def bytes_of(text: str) -> bytes:
    """The six bytes of an address in its usual form, letters of either case.

    Raises: ValueError.
    """
    if not _CANONICAL.fullmatch(text.lower()):
        raise ValueError(f"{text!r} is no MAC address such as 00:16:3e:00:00:01")
    return bytes.fromhex(text.replace(":", ""))


def text_of(address: bytes) -> str:
    """An address in its usual form."""
    return address.hex(":")


def is_group(text: str) -> bool:
    """Whether an address in its usual form is that of many (multicast)."""
    return bool(bytes_of(text)[0] & 1)
