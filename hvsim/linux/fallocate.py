"""fallocate(2) with FALLOC_FL_PUNCH_HOLE, which Python's os module does not have."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, Final

_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Free the blocks of a range of a file; it reads as zeros.  Size and descriptor stay.

    Raises: OSError: EOPNOTSUPP where the file system cannot.
    """
    off_t = ctypes.c_int64
    if _libc().fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, off_t(offset), off_t(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
