"""Device numbers of virtual disks, from and to the names that the guest uses.

Source: tools/libs/light/libxl_disk.c (libxl__device_disk_dev_number), docs vbd-interface(7).
"""

import re
from typing import Final

_XVD_MAJOR: Final = 202
_EXTENDED: Final = 1 << 28
MAX_DISK: Final = (1 << 20) - 1
MAX_PARTITION: Final = 255
MAX_DEVID: Final = (1 << 29) - 1

_NAME: Final = re.compile(r"(xvd|hd|sd)([a-z]{1,5})([0-9]{1,4})?")
_DISK_PART: Final = re.compile(r"d([0-9]{1,7})(?:p([0-9]{1,4}))?")


def devid(vdev: str) -> int | None:
    """The number of virtual device *vdev* ("xvda" -> 51712), None when it names none."""
    if vdev.isascii() and vdev.isdigit():
        number = int(vdev[:20])  # more digits are no number that could be one
        return number if number <= MAX_DEVID and len(vdev) <= 20 else None
    match = _DISK_PART.fullmatch(vdev)
    if match is not None:
        return _xvd(int(match[1]), int(match[2] or 0))
    match = _NAME.fullmatch(vdev)
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


def vdev_name(number: int) -> str:
    """The name of device *number* (51712 -> "xvda"); "?" for one that is not of an xvd disk."""
    if number & _EXTENDED:
        disk, partition = (number & (_EXTENDED - 1)) >> 8, number & 0xFF
    elif number >> 8 == _XVD_MAJOR:
        disk, partition = (number & 0xFF) >> 4, number & 0xF
    else:
        return "?"
    name = ""
    disk += 1
    while disk:
        disk, digit = divmod(disk - 1, 26)
        name = chr(ord("a") + digit) + name
    return f"xvd{name}{partition or ''}"


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
