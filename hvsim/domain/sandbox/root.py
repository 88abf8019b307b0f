"""The file system that an executable sees: the machine's programs, and nothing else of it.

A domain that runs programs of the machine (bash, ping, QEMU) needs their files, and must not
reach the sockets that lie about in the file system: Landlock does not judge ``connect()`` before
ABI 9.  So the process gets a root of its own, in its own mount namespace: the system's directories
bound in, fresh and bounded ``/tmp``, ``/run`` and ``/dev``, a ``/proc`` of its own process
namespace, the files that the domain's configuration names, and its own door to xenstored.

Sources: pivot_root(2), mount_namespaces(7), user_namespaces(7).
"""

import ctypes
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from hvsim.domain.sandbox import syscalls

SYSTEM: Final = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt",
)  # fmt: skip
"""What a program of the machine is made of.  A symbolic link is made again as one."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for (environ(7))."""
DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")
FRESH: Final = ("/tmp", "/var/tmp", "/var/log/xen", "/run", "/run/lock", "/dev/shm", "/root")
"""Directories that are empty at first and may be written to."""
LINKS: Final = {"/var/run": "/run", "/var/lock": "/run/lock"}
"""Symbolic links, as every distribution has them."""
WRITABLE: Final = (*FRESH, "/dev", "/proc")
"""Where a program may do what the modes allow."""
STORE_SOCKET: Final = "/run/xenstored/socket"
"""Where an executable finds the door of its own domain."""
TMP_SIZE: Final = "size=256m,nr_inodes=65536"
_ROOT_SIZE: Final = "size=16m,nr_inodes=16384,mode=755"

_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18
_MNT_DETACH: Final = 2


def enter(
    files: Iterable[str],
    readable: Iterable[str],
    *,
    store: str | None = None,
    hosts: Mapping[str, str] | None = None,
) -> list[str]:
    """Make the new root and go there.  For a mount namespace of a user namespace of ours.

    Args:
        files, readable: paths that are there under their own names, the first to be written to as
            well, as far as their modes and Landlock let it.
        store: the socket of the domain's door to xenstored.
        hosts: name -> address, for ``/etc/hosts``.

    Returns:
        What could not be had, in the words of the ``missing`` report.

    Raises:
        OSError: the machine forbids mounts even there, or a file does not exist.
    """
    missing: list[str] = []
    umask = os.umask(0o022)
    mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    # Over a directory that every system has and no program needs.
    base = Path("/proc")
    mount("tmpfs", base, "tmpfs", _MS_NOSUID | _MS_NODEV, _ROOT_SIZE)
    own_proc = _mount_proc(base / "proc", missing)
    for path in SYSTEM:
        _system(base, path)
    for path in FRESH:
        target = base / path.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        if path == "/tmp":
            mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, TMP_SIZE + ",mode=1777")
    for path, goal in LINKS.items():
        os.symlink(goal, base / path.lstrip("/"))
    # After those: an image may well lie in /tmp.
    for path in sorted({*map(os.path.abspath, readable), *map(os.path.abspath, files)}):
        if not _covered(path, SYSTEM) and os.path.exists(path):
            bind(path, base / path.lstrip("/"))
    _devices(base / "dev", own_proc, missing)
    if store is not None:
        _door(base, store, missing)
    if hosts is not None:
        _hosts(base, hosts)
    os.chdir(base)
    syscalls.syscall("pivot_root", *_addresses(b".", b"."))
    syscalls.syscall("umount2", _addresses(b".")[0], _MNT_DETACH)
    os.chdir("/")
    os.umask(umask)
    return missing


def mount(
    source: object, target: object, kind: str | None, flags: int, data: str | None = None
) -> None:
    """``mount(2)``.  Raises OSError that names the target."""
    words = [None if w is None else os.fsencode(str(w)) for w in (source, target, kind, data)]
    buffers = [None if w is None else ctypes.create_string_buffer(w) for w in words]
    at = [0 if b is None else ctypes.addressof(b) for b in buffers]
    try:
        syscalls.syscall("mount", at[0], at[1], at[2], flags, at[3])
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


def bind(source: str, target: Path) -> None:
    """Show *source*, a file or a directory with all below it, at *target* as well."""
    if stat.S_ISDIR(os.stat(source).st_mode):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=True)
    mount(source, target, None, _MS_BIND | _MS_REC)


def _system(base: Path, path: str) -> None:
    target = base / path.lstrip("/")
    if os.path.islink(path):
        target.symlink_to(os.readlink(path))
    elif os.path.isdir(path):
        bind(path, target)


def _covered(path: str, directories: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in directories)


def _mount_proc(target: Path, missing: list[str]) -> bool:
    """A /proc of the own process namespace; the kernel forbids it where the machine's own is
    partly covered (mount_too_revealing)."""
    target.mkdir()
    try:
        mount("proc", target, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except OSError as error:
        missing.append(f"proc: {error.strerror}")
        return False
    return True


def _devices(dev: Path, own_proc: bool, missing: list[str]) -> None:
    dev.mkdir(exist_ok=True)
    for name in DEVICES:
        source = f"/dev/{name}"
        if os.path.exists(source):
            bind(source, dev / name)
    (dev / "pts").mkdir()
    try:
        options = "newinstance,ptmxmode=0666,mode=0620"
        mount("devpts", dev / "pts", "devpts", _MS_NOSUID | _MS_NOEXEC, options)
    except OSError as error:
        missing.append(f"devpts: {error.strerror}")
    (dev / "ptmx").symlink_to("pts/ptmx")
    if own_proc:
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            (dev / name).symlink_to(f"/proc/self/fd{target}")


def _door(base: Path, store: str, missing: list[str]) -> None:
    if not os.path.exists(store):
        missing.append("xenstored: the domain has no socket of its own")
        return
    bind(store, base / STORE_SOCKET.lstrip("/"))


def _hosts(base: Path, hosts: Mapping[str, str]) -> None:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{address.partition('/')[0]} {name}" for name, address in hosts.items()]
    own = base / "run" / "hosts"
    own.write_text("\n".join(lines) + "\n", encoding="ascii")
    target = base / "etc" / "hosts"
    if target.exists():
        mount(own, target, None, _MS_BIND)


def _addresses(*words: bytes) -> list[int]:
    _KEPT[:] = [ctypes.create_string_buffer(word) for word in words]
    return [ctypes.addressof(buffer) for buffer in _KEPT]


_KEPT: list["ctypes.Array[ctypes.c_char]"] = []
"""What the addresses above point to, until the next call."""
