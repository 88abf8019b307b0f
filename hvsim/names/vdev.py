"""Virtual disks as the guest calls them, and their numbers: "xvda" <-> 51712.

    xvd LETTERS [PARTITION]    xvda xvdb2 ... of Xen's own major, or extended beyond 16 disks
    d DISK p PARTITION         the same by numbers: d0p1 is xvda1
    hd LETTER ..., sd LETTER ...
    NUMBER                     as it is, in C's notation

Source: xen-vbd-interface(7), and what the installed libxl makes of each (xvda0 and d0 are none).
"""

import os
import re
from typing import Final

_XVD_MAJOR: Final = 202
_EXTENDED: Final = 1 << 28
MAX_DISK: Final = (1 << 20) - 1
MAX_PARTITION: Final = 255
MAX_NUMBER: Final = (1 << 31) - 1

_NAME: Final = re.compile(r"(xvd|hd|sd)([a-z]{1,5})([1-9][0-9]{0,3})?")
_DISK_PART: Final = re.compile(r"d([0-9]{1,7})p([0-9]{1,4})")
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")


def parse(text: str) -> int | None:
    """The number of virtual disk *text* ("xvda" -> 51712), None when it names none."""
    if _NUMBER.fullmatch(text):
        octal = text.isdigit() and text.startswith("0")
        number = int(text, 8 if octal else 0)
        return number if number <= MAX_NUMBER else None
    match = _DISK_PART.fullmatch(text)
    if match is not None:
        return _xvd(int(match[1]), int(match[2]))
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    disk, partition = _letters(match[2]), int(match[3] or 0)
    if match[1] == "xvd":
        return _xvd(disk, partition)
    if match[1] == "hd":
        if disk > 3 or partition > 63:
            return None
        return ((3 if disk < 2 else 22) << 8) | ((disk & 1) << 6) | partition
    if disk > 15 or partition > 15:
        return None
    return (8 << 8) | (disk << 4) | partition


def of_guest(text: str | int) -> int:
    """The number of the disk that a program in a guest asks for: as `parse`, also with the
    "/dev/" that it has in front there.

    Raises: ValueError.
    """
    number = text if isinstance(text, int) else parse(text.removeprefix("/dev/"))
    if number is None or not 0 <= number <= MAX_NUMBER:
        raise ValueError(f"{text!r} is no virtual disk: use xvda, xvdb, ... or a number")
    return number


def name(number: int) -> str:
    """The name of disk *number* (51712 -> "xvda"); "?" for one that is not of an xvd disk."""
    if number & _EXTENDED:
        disk, partition = (number & (_EXTENDED - 1)) >> 8, number & 0xFF
    elif number >> 8 == _XVD_MAJOR:
        disk, partition = (number & 0xFF) >> 4, number & 0xF
    else:
        return "?"
    letters = ""
    disk += 1
    while disk:
        disk, digit = divmod(disk - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return f"xvd{letters}{partition or ''}"


def device_number(number: int) -> int:
    """Linux' device number of a virtual disk in the domain that has it: 202:16 for xvdb."""
    if number & _EXTENDED:
        return os.makedev(_XVD_MAJOR, number & (_EXTENDED - 1))
    return os.makedev(number >> 8, number & 0xFF)


def _xvd(disk: int, partition: int) -> int | None:
    if disk > MAX_DISK or partition > MAX_PARTITION:
        return None
    if disk <= 15 and partition <= 15:
        return (_XVD_MAJOR << 8) | (disk << 4) | partition
    return _EXTENDED | (disk << 8) | partition


def _letters(text: str) -> int:
    """a = 0, z = 25, aa = 26: counting without a zero."""
    number = 0
    for letter in text:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1
