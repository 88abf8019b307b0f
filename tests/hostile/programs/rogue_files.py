"""Attempts on files of the domain's user that were not granted, without opening them.

Landlock judges the opening of files alone; these calls reach one by its path.
"""

import ctypes
import os
import struct
from typing import TYPE_CHECKING, Final

from hvsim.linux import syscalls
from hvsim.linux.syscalls import syscall

if TYPE_CHECKING:
    from tests.hostile.programs.rogue import Scene

_CWD: Final = -100
_UTIME_NOW: Final = (1 << 30) - 1
_TRUSTED: Final = b"user.hvsim"


def _at(text: str | bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(os.fsencode(text))


def _path(scene: "Scene") -> "ctypes.Array[ctypes.c_char]":
    return _at(scene.facts["image"])


def chmod(scene: "Scene") -> None:
    path = _path(scene)
    syscall("fchmodat", _CWD, ctypes.addressof(path), 0o600)


def chmod_by_old_call(scene: "Scene") -> None:
    path = _path(scene)
    name = "chmod" if "chmod" in syscalls.NUMBERS[syscalls.MACHINE] else "fchmodat2"
    arguments = (0o600,) if name == "chmod" else (0o600, 0)
    before = () if name == "chmod" else (_CWD,)
    syscall(name, *before, ctypes.addressof(path), *arguments)


def chown(scene: "Scene") -> None:
    path = _path(scene)
    syscall("fchownat", _CWD, ctypes.addressof(path), -1, -1, 0)


def touch(scene: "Scene") -> None:
    path, now = _path(scene), ctypes.create_string_buffer(struct.pack("=4q", 0, _UTIME_NOW, 0, 0))
    syscall("utimensat", _CWD, ctypes.addressof(path), ctypes.addressof(now), 0)


def set_attribute(scene: "Scene") -> str | None:
    path, name, value = _path(scene), _at(_TRUSTED), _at(b"x")
    where, what = ctypes.addressof(path), ctypes.addressof(name)
    try:
        syscall("setxattr", where, what, ctypes.addressof(value), 1, 0)
    except OSError as error:
        if error.errno != 95:  # EOPNOTSUPP: the call came through
            raise
        return None
    syscall("removexattr", where, what)
    return None


def get_attribute(scene: "Scene") -> None:
    path = _path(scene)
    syscall("listxattr", ctypes.addressof(path), 0, 0)


def look(scene: "Scene") -> None:
    os.stat(scene.facts["image"])


def look_at_links(scene: "Scene") -> None:
    os.lstat(scene.facts["image"])


def look_at_home(_scene: "Scene") -> None:
    """Is there such a directory?  Another domain's business, and the owner's."""
    os.stat("/etc/ssh/.." if os.path.isdir("/etc/ssh") else "/var/log")


def may_it_be_read(scene: "Scene") -> str | None:
    return None if os.access(scene.facts["image"], os.F_OK) else "ENOENT"


def watch(scene: "Scene") -> None:
    fd = syscall("inotify_init1", os.O_CLOEXEC)
    path = _path(scene)
    try:
        syscall("inotify_add_watch", fd, ctypes.addressof(path), 0xFFF)
    finally:
        os.close(fd)


def rename(scene: "Scene") -> None:
    os.rename(scene.facts["image"], scene.facts["image"])


def chmod_of_a_socket(scene: "Scene") -> None:
    path = _at(scene.facts["socket"])
    syscall("fchmodat", _CWD, ctypes.addressof(path), 0o600)


def chmod_by_descriptor(_scene: "Scene") -> None:
    """The interpreter's own files are open to it: by a descriptor there is no path to hide."""
    import hvsim

    fd = os.open(str(hvsim.__file__), os.O_RDONLY)
    try:
        syscall("fchmod", fd, os.fstat(fd).st_mode & 0o777)
    finally:
        os.close(fd)


ATTEMPTS: Final = {
    "chmod a file of its user": chmod,
    "the same by another call": chmod_by_old_call,
    "chown a file of its user": chown,
    "set its times": touch,
    "set an attribute of it": set_attribute,
    "list its attributes": get_attribute,
    "stat it": look,
    "lstat it": look_at_links,
    "stat a directory of the machine": look_at_home,
    "ask whether it is there": may_it_be_read,
    "watch it": watch,
    "rename it": rename,
    "chmod a socket of the lab": chmod_of_a_socket,
    "chmod what it may read, by descriptor": chmod_by_descriptor,
}
