"""mount(2), umount2(2) and unshare(2) for tests, as they are."""

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUSER: Final = 0x1000_0000
MS_RDONLY: Final = 1
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """``mount(2)``.  Raises OSError."""
    words = [os.fsencode(word) for word in (source, target, kind)]
    done = _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(data))
    _check(done, f"mount {kind} on {target}")


def umount(target: str, flags: int = 0) -> None:
    """``umount2(2)``.  Raises OSError."""
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def unshare(flags: int) -> None:
    """``unshare(2)``.  Raises OSError."""
    _check(_libc.unshare(flags), "unshare")
