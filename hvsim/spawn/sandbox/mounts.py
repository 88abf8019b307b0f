"""The mount calls that a root directory is built with; each names its target when it fails.

Sources: mount(2), open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2); linux/mount.h.
"""

import ctypes
import errno
import os
import struct
from typing import Final

from hvsim.linux import syscalls

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MS_SLAVE: Final = 1 << 19
_MNT_DETACH: Final = 2

#: Flags of a mount, for :func:`attach`.
RDONLY: Final = 0x1
NOSUID: Final = 0x2
NODEV: Final = 0x4
_IDMAP: Final = 0x0010_0000

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_OPEN_TREE_CLONE: Final = 1
_OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_ATTR: Final = struct.Struct("=4Q")
"""struct mount_attr: attr_set, attr_clr, propagation, userns_fd."""


def mount(kind: str, target: str, flags: int, options: str = "") -> None:
    """A new file system of *kind* at *target*.  Raises OSError that names the target."""
    source, where, data = _text(kind), _text(target), _text(options)
    try:
        syscalls.syscall(
            "mount",
            ctypes.addressof(source),
            ctypes.addressof(where),
            ctypes.addressof(source),
            flags,
            ctypes.addressof(data),
        )
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), target) from None


def follow_only() -> None:
    """What is mounted outside appears here as well; what is mounted here stays here."""
    where = _text("/")
    syscalls.syscall("mount", 0, ctypes.addressof(where), 0, _MS_REC | _MS_SLAVE, 0)


def attach(
    source: str, target: str, flags: int, *, idmap: int | None = None, recursive: bool = True
) -> None:
    """Show *source* at *target*, which exists, as well, with *flags* for all mounts below it, and
    apart from what happens to its mounts later.

    Args:
        idmap: descriptor of a user namespace whose id map the owners of files are seen through.

    Raises:
        OSError: names the source; with *idmap*, EINVAL is a file system that cannot do that.
    """
    name, empty, where = _text(source), _text(""), _text(target)
    rest = _AT_RECURSIVE if recursive else 0
    number = -1
    try:
        number = syscalls.syscall(
            "open_tree",
            _AT_FDCWD,
            ctypes.addressof(name),
            _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | rest,
        )
        mapped = _IDMAP if idmap is not None else 0
        attributes = _ATTR.pack(flags | mapped, 0, _MS_PRIVATE, idmap or 0)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        syscalls.syscall(
            "mount_setattr",
            number,
            ctypes.addressof(empty),
            _AT_EMPTY_PATH | rest,
            ctypes.addressof(buffer),
            len(attributes),
        )
        syscalls.syscall(
            "move_mount",
            number,
            ctypes.addressof(empty),
            _AT_FDCWD,
            ctypes.addressof(where),
            _MOVE_MOUNT_F_EMPTY_PATH,
        )
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), source) from None
    finally:
        if number >= 0:
            os.close(number)


def seal(target: str) -> None:
    """Nothing is written through the mount at *target* any more.  Raises OSError."""
    where = _text(target)
    attributes = _ATTR.pack(RDONLY, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    try:
        syscalls.syscall(
            "mount_setattr",
            _AT_FDCWD,
            ctypes.addressof(where),
            0,
            ctypes.addressof(buffer),
            len(attributes),
        )
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), target) from None


def enter(base: str) -> None:
    """Make the mount at *base* the root directory, and let go of all that was there before."""
    os.chdir(base)
    here = _text(".")
    syscalls.syscall("pivot_root", ctypes.addressof(here), ctypes.addressof(here))
    syscalls.syscall("umount2", ctypes.addressof(here), _MNT_DETACH)
    os.chdir("/")


def _text(text: str) -> "ctypes.Array[ctypes.c_char]":
    data = os.fsencode(text)
    if b"\0" in data:  # the kernel would see another path than we do
        raise OSError(errno.EINVAL, "a path with a NUL character", text)
    return ctypes.create_string_buffer(data)
