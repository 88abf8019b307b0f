"""Attempts on shared memory and event channels with the descriptors that one rightly holds."""

import ctypes
import fcntl
import mmap
import os
from typing import TYPE_CHECKING, Final

from hvsim.linux.syscalls import syscall

if TYPE_CHECKING:
    from hvsim.domain.mapper import Mapping
    from tests.hostile.programs.rogue import Scene

_PAGE: Final = 4096
_F_ADD_SEALS: Final = 1033
_FIONBIO: Final = 0x5421
_PUNCH_HOLE: Final = 0x02 | 0x01  # with FALLOC_FL_KEEP_SIZE
_MADV_REMOVE: Final = 9

_libc = ctypes.CDLL(None, use_errno=True)


def _extent_fd(mapping: "Mapping") -> int:
    return mapping._extents[0].fd


def _checked(result: int) -> None:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def map_writable(scene: "Scene") -> None:
    area = mmap.mmap(_extent_fd(scene.readonly), _PAGE)
    area[0] = 0


def make_writable(scene: "Scene") -> None:
    address = ctypes.c_void_p(scene.readonly.address)
    _checked(_libc.mprotect(address, ctypes.c_size_t(_PAGE), mmap.PROT_READ | mmap.PROT_WRITE))
    ctypes.memset(scene.readonly.address, 0, 1)


def write_by_call(scene: "Scene") -> None:
    os.pwrite(_extent_fd(scene.readonly), b"\0", 0)


def punch_hole_by_call(scene: "Scene") -> None:
    syscall("fallocate", _extent_fd(scene.readonly), _PUNCH_HOLE, 0, _PAGE)


def punch_hole_by_advice(scene: "Scene") -> None:
    address = ctypes.c_void_p(scene.readonly.address)
    _checked(_libc.madvise(address, ctypes.c_size_t(_PAGE), _MADV_REMOVE))


def reopen_writable(scene: "Scene") -> None:
    """An O_RDONLY memfd can be opened anew; seals are what refuses the writing."""
    fd = os.open(f"/proc/self/fd/{_extent_fd(scene.readonly)}", os.O_RDWR)
    try:
        os.pwrite(fd, b"\0", 0)
    finally:
        os.close(fd)


def reopen_by_thread(scene: "Scene") -> None:
    fd = os.open(f"/proc/thread-self/fd/{_extent_fd(scene.readonly)}", os.O_RDWR)
    try:
        mmap.mmap(fd, _PAGE)[0] = 0
    finally:
        os.close(fd)


def truncate_shared(scene: "Scene") -> None:
    os.ftruncate(_extent_fd(scene.shared), 0)


def grow_shared(scene: "Scene") -> None:
    os.ftruncate(_extent_fd(scene.shared), 1 << 20)


def write_beyond(scene: "Scene") -> None:
    os.pwrite(_extent_fd(scene.shared), b"\0", 1 << 20)


def seal_shared(scene: "Scene") -> None:
    fcntl.fcntl(_extent_fd(scene.shared), _F_ADD_SEALS, 0x08)


def _tx(scene: "Scene") -> int:
    return scene.dom.events._tx[scene.port]


def make_blocking(scene: "Scene") -> None:
    fcntl.fcntl(_tx(scene), fcntl.F_SETFL, 0)


def make_blocking_by_ioctl(scene: "Scene") -> None:
    fcntl.ioctl(_tx(scene), _FIONBIO, b"\0\0\0\0")


def make_asynchronous(scene: "Scene") -> None:
    fcntl.fcntl(_tx(scene), fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)


def saturate_counter(scene: "Scene") -> None:
    """The victim rings the same bell and must not wait; EAGAIN is ours."""
    fd = _tx(scene)
    os.eventfd_write(fd, 1)
    while True:
        os.eventfd_write(fd, 2**64 - 2 - 1)


def event_storm(scene: "Scene") -> None:
    for _ in range(20_000):
        scene.dom.events.notify(scene.port)


ATTEMPTS: Final = {
    "map a read-only grant for writing": map_writable,
    "mprotect a read-only grant": make_writable,
    "pwrite to a read-only grant": write_by_call,
    "punch a hole into a read-only grant": punch_hole_by_call,
    "the same by madvise": punch_hole_by_advice,
    "reopen a read-only grant for writing": reopen_writable,
    "the same, and map it": reopen_by_thread,
    "truncate a shared extent": truncate_shared,
    "grow a shared extent": grow_shared,
    "write beyond a shared extent": write_beyond,
    "seal a shared extent": seal_shared,
    "make a shared eventfd blocking": make_blocking,
    "the same by ioctl": make_blocking_by_ioctl,
    "make a shared eventfd asynchronous": make_asynchronous,
    "saturate an event counter": saturate_counter,
    "event storm": event_storm,
}
