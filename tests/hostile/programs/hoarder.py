"""Takes as much of everything as it gets: of memory, and of what the kernel counts for a user.

Run as ``python3 -c`` with the names of attempts, or imported; nothing but ctypes.  Each attempt
says how much it got before it was refused (or gave up by itself, at CAP), or the errno of its very
first step.  Memory is asked for and not touched: what counts is that it could be.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator

CAP = 1500
MIB = 1 << 20
_PIECE = 16
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_IPC_PRIVATE, _IPC_RMID = 0, 0
_SIGNAL = signal.SIGRTMIN
_FAILED = ctypes.c_void_p(-1).value


def call(name: str, *args: object) -> int:
    """A function of the C library; raises OSError."""
    done = int(getattr(_libc, name)(*args))
    if done == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def most(steps: Iterator[int], cap: int = CAP) -> int:
    """The sum of what is got until a refusal; the first step's refusal is raised."""
    got = 0
    try:
        for step in steps:
            got += step
            if got >= cap:
                break
    except OSError:
        if not got:
            raise
    finally:
        steps.close()  # type: ignore[attr-defined]
    return got


def _map(size: int, flags: int) -> int:
    address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if address in (None, _FAILED):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(address)


def _mapped(flags: int, readonly: bool = False) -> Iterator[int]:
    """MiB that are mapped."""
    size = _PIECE * MIB
    taken: list[int] = []
    try:
        while True:
            taken.append(_map(size, flags))
            if readonly:
                call("mprotect", taken[-1], size, mmap.PROT_READ)
            yield _PIECE
    finally:
        for address in taken:
            _libc.munmap(address, size)


def private_memory() -> int:
    return most(_mapped(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), 16 * 1024)


def hidden_memory() -> int:
    """Made read-only, RLIMIT_DATA does not count it."""
    return most(_mapped(mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, True), 16 * 1024)


def shared_memory() -> int:
    return most(_mapped(mmap.MAP_SHARED | mmap.MAP_ANONYMOUS), 16 * 1024)


def huge_pages() -> int:
    _libc.munmap(_map(2 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000), 2 * MIB)
    return 1


def memory_files() -> int:
    """Each could be filled by write(2), without an address."""

    def steps() -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            while True:
                fd = os.memfd_create("x")
                stack.callback(os.close, fd)
                yield 1

    return most(steps())


def segments() -> int:
    """MiB of System V shared memory."""

    def steps() -> Iterator[int]:
        made: list[int] = []
        try:
            while True:
                made.append(call("shmget", _IPC_PRIVATE, ctypes.c_size_t(16 * MIB), 0o600))
                yield 16
        finally:
            for one in made:
                _libc.shmctl(one, _IPC_RMID, None)

    return most(steps())


def queues() -> int:
    def steps() -> Iterator[int]:
        made: list[int] = []
        try:
            while True:
                made.append(call("msgget", _IPC_PRIVATE, 0o600))
                yield 1
        finally:
            for one in made:
                _libc.msgctl(one, _IPC_RMID, None)

    return most(steps())


def pipes() -> int:
    def steps() -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            while True:
                for fd in os.pipe():
                    stack.callback(os.close, fd)
                yield 1

    return most(steps(), 5000)


def pairs() -> int:
    def steps() -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            while True:
                for end in socket.socketpair():
                    stack.enter_context(end)
                yield 1

    return most(steps(), 5000)


def on_their_way() -> int:
    """Descriptors in messages that nobody reads."""

    def steps() -> Iterator[int]:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 253))]
        with contextlib.ExitStack() as stack:
            while True:
                here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                stack.enter_context(here)
                stack.enter_context(there)
                here.setblocking(False)
                for _ in range(8):
                    here.sendmsg([b"x"], rights)
                    yield 253

    return most(steps(), 20_000)


def packet_ring() -> int:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(263, 5, struct.pack("=4I", 1 << 20, 8, 2048, 8 << 9))
    return 8


def watches() -> int:
    """One file under many numbers, in one epoll set after the other."""

    def steps() -> Iterator[int]:
        bell = os.eventfd(0)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, bell)
            numbers = []
            for _ in range(50):
                numbers.append(os.dup(bell))
                stack.callback(os.close, numbers[-1])
            while True:
                epoll = stack.enter_context(select.epoll())
                for number in numbers:
                    epoll.register(number, select.EPOLLIN)
                    yield 1

    return most(steps(), 5000)


def inotify() -> int:
    def steps() -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            while True:
                stack.callback(os.close, call("inotify_init1", 0))
                yield 1

    return most(steps())


def timers() -> int:
    def steps() -> Iterator[int]:
        made: list[ctypes.c_void_p] = []
        event = ctypes.create_string_buffer(64)
        struct.pack_into("=QiI", event, 0, 0, int(_SIGNAL), 0)
        try:
            while True:
                timer = ctypes.c_void_p()
                call("timer_create", 1, event, ctypes.byref(timer))
                made.append(timer)
                yield 1
        finally:
            for timer in made:
                _libc.timer_delete(timer)

    return most(steps(), 10_000)


def signals() -> int:
    """Signals that wait."""

    def steps() -> Iterator[int]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {_SIGNAL})
        try:
            while True:
                call("sigqueue", os.getpid(), int(_SIGNAL), ctypes.c_void_p(0))
                yield 1
        finally:
            while signal.sigtimedwait({_SIGNAL}, 0):
                pass
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {_SIGNAL})

    return most(steps(), 10_000)


def asynchronous() -> int:
    """Requests of io_submit(2), of which the machine has so many for all."""
    context = ctypes.c_ulong(0)
    call("syscall", 206, 1000, ctypes.byref(context))
    call("syscall", 207, context)
    return 1000


def locks() -> int:
    """Locks on bytes of a file, no two side by side."""

    def steps() -> Iterator[int]:
        fd = os.open(os.environ.get("HOARD", "/tmp/hoard"), os.O_RDWR | os.O_CREAT)
        try:
            for at in range(0, 10_000, 2):
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
                yield 1
        finally:
            os.close(fd)

    return most(steps())


def own_locks() -> int:
    """The same on what every domain has, its log."""

    def steps() -> Iterator[int]:
        for at in range(0, 10_000, 2):
            fcntl.lockf(1, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
            yield 1

    return most(steps())


def keys() -> int:
    call("syscall", 248, b"user", b"x", b"y", 1, -2)
    return 1


def threads() -> int:
    done = threading.Event()

    def steps() -> Iterator[int]:
        made: list[threading.Thread] = []
        threading.stack_size(64 * 1024)
        try:
            while True:
                one = threading.Thread(target=done.wait)
                try:
                    one.start()
                except RuntimeError:
                    raise OSError(errno.EAGAIN, "no thread") from None
                made.append(one)
                yield 1
        finally:
            done.set()
            for one in made:
                one.join()

    return most(steps(), 300)


def processes() -> int:
    def steps() -> Iterator[int]:
        made: list[int] = []
        try:
            while True:
                pid = os.fork()
                if pid == 0:
                    signal.pause()
                    os._exit(0)
                made.append(pid)
                yield 1
        finally:
            for one in made:
                os.kill(one, signal.SIGKILL)
            for one in made:
                os.waitpid(one, 0)

    return most(steps(), 800)


def descriptors() -> int:
    def steps() -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            while True:
                stack.callback(os.close, os.eventfd(0))
                yield 1

    return most(steps(), 20_000)


ATTEMPTS: dict[str, Callable[[], int]] = {
    "MiB of private memory": private_memory,
    "MiB of memory that was made read-only": hidden_memory,
    "MiB of shared memory": shared_memory,
    "huge pages": huge_pages,
    "memory files": memory_files,
    "MiB of System V segments": segments,
    "System V queues": queues,
    "pipes": pipes,
    "pairs of sockets": pairs,
    "descriptors on their way": on_their_way,
    "MiB in a packet ring": packet_ring,
    "epoll watches": watches,
    "inotify instances": inotify,
    "timers": timers,
    "signals that wait": signals,
    "asynchronous requests": asynchronous,
    "locks": locks,
    "locks on the own log": own_locks,
    "keys": keys,
    "threads": threads,
    "processes": processes,
    "descriptors": descriptors,
}


def hoard(names: list[str]) -> dict[str, int | str]:
    """Make these attempts, all without a name."""
    found: dict[str, int | str] = {}
    for name in names or list(ATTEMPTS):
        try:
            found[name] = ATTEMPTS[name]()
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno or 0, str(error.errno))
    return found


if __name__ == "__main__":
    print(json.dumps(hoard(sys.argv[1:])), flush=True)
