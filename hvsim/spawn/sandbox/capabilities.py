"""Capabilities of a domain's process: which it keeps, and the call that takes the others.

The first process of a user namespace holds all capabilities *in it*; and where user namespaces are
refused, root's children would hold those of the host.  Source: linux/capability.h, capset(2).
"""

import ctypes
import struct
from collections.abc import Iterable
from typing import Final

from hvsim.linux import syscalls

#: What a program of the machine keeps in its own user namespace: capabilities over files, ids, its
#: network and its processes; none over the kernel, and none to trace who is not its own child.
PROGRAM: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)

#: CAP_SYS_PTRACE: reads and writes the memory of its programs, as a kernel does.
_SYS_PTRACE: Final = 19

#: What the process below a program keeps, which stands for its kernel.
KERNEL: Final = (*PROGRAM, _SYS_PTRACE)

#: CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW: over the network of its own user namespace.
NETWORK: Final = (10, 12, 13)

_HEADER: Final = b"\x22\x05\x08\x20" + bytes(4)  # _LINUX_CAPABILITY_VERSION_3, this process
_DATA: Final = struct.Struct("=6I")
"""struct __user_cap_data_struct[2]: effective, permitted, inheritable; the low words first."""


def drop(keep: Iterable[int] = ()) -> None:
    """Give up the capabilities of this process, but for *keep*.

    Raises:
        OSError: EPERM: one to keep is not held.
    """
    kept = sum(1 << capability for capability in keep)
    _set(_DATA.pack(kept, kept, 0, 0, 0, 0))


def narrow(keep: Iterable[int]) -> None:
    """As :func:`drop`, where it is not known that all of *keep* are held."""
    held = _permitted()
    drop(capability for capability in keep if held >> capability & 1)


def raise_all() -> None:
    """Make effective what is permitted: a change of the user id takes it away (capabilities(7))."""
    held = _permitted()
    low, high = held & 0xFFFF_FFFF, held >> 32
    _set(_DATA.pack(low, low, 0, high, high, 0))


def _permitted() -> int:
    header, data = _buffer(_HEADER), _buffer(bytes(_DATA.size))
    syscalls.syscall("capget", ctypes.addressof(header), ctypes.addressof(data))
    _, low, _, _, high, _ = _DATA.unpack(data.raw)
    return int(low | high << 32)


def _set(data: bytes) -> None:
    header, buffer = _buffer(_HEADER), _buffer(data)
    syscalls.syscall("capset", ctypes.addressof(header), ctypes.addressof(buffer))


def _buffer(data: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(data, len(data))
