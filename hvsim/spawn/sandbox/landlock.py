"""Landlock: the paths a domain may open, cut to what the running kernel knows.

Everything Landlock can refuse is refused, and exceptions are made for a list of paths:
reading for the interpreter and our packages, reading or writing for the files that the
domain's configuration names.  Only a domain that runs programs of the machine gets
EXECUTE.  Source: linux/landlock.h and Documentation/userspace-api/landlock.rst.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from hvsim.linux import syscalls

Mode = Literal["r", "rw", "all"]
"""Reading; reading and writing; everything, in a directory that is the process's own."""

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_FILE: Final = 1 << 5
MAKE_REG: Final = 1 << 8
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

#: ABI -> highest bit of LANDLOCK_ACCESS_FS_* it knows, plus one.
_FS_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_NET_TCP: Final = 0b11  # bind, connect: ABI 4
_SCOPES: Final = 0b11  # abstract Unix sockets, signals: ABI 6
_VERSION: Final = 1  # LANDLOCK_CREATE_RULESET_VERSION
_RULE_PATH_BENEATH: Final = 1

_EVERYTHING: Final = (1 << 16) - 1
_FILE: Final = {
    "r": READ_FILE,
    "rw": READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV,
    "all": EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV,
    "x": EXECUTE | READ_FILE,
}
_DIRECTORY: Final = {
    "r": READ_FILE | READ_DIR,
    "rw": READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV | MAKE_REG | REMOVE_FILE,
    "all": _EVERYTHING,
    "x": EXECUTE | READ_FILE | READ_DIR,
}


@dataclass(frozen=True)
class Handled:
    """What a ruleset for some ABI refuses unless a rule allows it."""

    fs: int
    net: int
    scoped: int

    @classmethod
    def of(cls, abi: int) -> "Handled":
        """Everything this ABI (1 or later) can refuse and that we name."""
        return cls(
            fs=(1 << _FS_BITS[min(abi, max(_FS_BITS))]) - 1,
            net=_NET_TCP if abi >= 4 else 0,
            scoped=_SCOPES if abi >= 6 else 0,
        )

    def pack(self, abi: int) -> bytes:
        """``struct landlock_ruleset_attr`` in the size that this ABI expects."""
        words = [self.fs]
        if abi >= 4:
            words.append(self.net)
        if abi >= 6:
            words.append(self.scoped)
        return struct.pack(f"={len(words)}Q", *words)


def probe_abi() -> int:
    """The kernel's Landlock ABI, 0 where there is none (not built in, or not switched on)."""
    try:
        return syscalls.syscall("landlock_create_ruleset", 0, 0, _VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
            return 0
        raise


def restrict(
    paths: Iterable[tuple[str, Mode]],
    optional: Iterable[str],
    abi: int,
    *,
    executable: Iterable[str] = (),
    network: bool = False,
    scoped: bool = True,
) -> list[str]:
    """Leave this process these paths and no others, for ever.  Needs no_new_privs.

    Args:
        paths: must exist; a directory stands for all below it.
        optional: readable paths that some machines do not have.
        abi: from :func:`probe_abi`.
        executable: directories of programs that may be run, where there are such; with any, what
            is readable may be run as well (an interpreter of our own is no use otherwise).
        network: the process has a network of its own: TCP is not judged here.
        scoped: whether abstract sockets and signals are judged; for children of the process they
            are not, since they stay in its namespaces.

    Returns:
        What this kernel could not refuse, in the words of the ``missing`` report.

    Raises:
        OSError: a path that must exist does not, or the kernel refused a rule.
    """
    if abi < 1:
        return ["landlock: not in this kernel"]
    handled = Handled.of(abi)
    if network:
        handled = replace(handled, net=0)
    if not scoped:
        handled = replace(handled, scoped=0)
    executable = list(executable)
    attr = handled.pack(abi)
    buffer = ctypes.create_string_buffer(attr, len(attr))
    ruleset = syscalls.syscall("landlock_create_ruleset", ctypes.addressof(buffer), len(attr), 0)
    try:
        for path, mode in paths:
            _allow(ruleset, path, mode, handled.fs)
        rights = "x" if executable else "r"
        for path in (*optional, *executable):
            try:
                _allow(ruleset, path, rights, handled.fs)
            except (FileNotFoundError, PermissionError, NotADirectoryError):
                continue
        syscalls.syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    missing = []
    if abi < 3:
        missing.append("landlock-truncate: needs Landlock ABI 3")
    if abi < 5:
        missing.append("landlock-ioctl: needs Landlock ABI 5")
    if scoped and not handled.scoped:
        missing.append("landlock-scope: needs Landlock ABI 6")
    return missing


def _allow(ruleset: int, path: str, mode: str, handled: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        table = _DIRECTORY if stat.S_ISDIR(os.fstat(fd).st_mode) else _FILE
        # struct landlock_path_beneath_attr is packed: u64 allowed_access, s32 parent_fd
        rule = ctypes.create_string_buffer(struct.pack("=Qi", table[mode] & handled, fd), 12)
        syscalls.syscall(
            "landlock_add_rule", ruleset, _RULE_PATH_BENEATH, ctypes.addressof(rule), 0
        )
    finally:
        os.close(fd)
