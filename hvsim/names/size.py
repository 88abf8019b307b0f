"""Sizes as people write them: 512, "64M", "2 GiB"."""

import re

from hvsim.names.number import from_digits

_SIZE = re.compile(r"^([0-9]+) ?([KMGT]?)(?:i?B)?$")
_FACTOR = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

MIB = 1 << 20
PAGE_SIZE = 4096


def bytes_of(size: int | str) -> int:
    """`size` in bytes; a bare number is bytes. Raises ValueError for anything else."""
    if isinstance(size, int):
        return size
    match = _SIZE.match(size)
    if match is None:
        raise ValueError(f"{size!r} is not a size such as 64M or 2GiB")
    return from_digits(match[1]) * _FACTOR[match[2]]


def mib_of(size: int | str) -> int:
    """`size` in MiB; a bare number is MiB, as in xl.cfg(5). Rounds up."""
    if isinstance(size, int):
        return size
    return -(-bytes_of(size) // MIB)


def text_of(size: int) -> str:
    """`size` bytes for a reader: 67108864 -> "64M"."""
    for unit in ("T", "G", "M", "K"):
        if size >= _FACTOR[unit] and size % _FACTOR[unit] == 0:
            return f"{size // _FACTOR[unit]}{unit}"
    return str(size)
