"""What runs in the children of the spawner under test, in place of a domain's program.

``run`` has the signature of ``hvsim.domain.start.run``; ``spec.program`` names one of the
functions below.  Each answers over the hypercall connection with one msgpack packet.
"""

import errno
import mmap
import os
import re
import resource
import signal
import time
from typing import Any

import msgpack

from hvsim.domain.vcpu import VCPU
from hvsim.linux import syscalls
from hvsim.wire.spawn import Spawn


def run(conn_fd: int, upcall_fd: int, spec: Spawn) -> None:
    """Call the function that the spec names and send what it returns."""
    result = globals()[spec.program](conn_fd, upcall_fd, spec.args)
    if result is not None:
        os.write(conn_fd, msgpack.packb(result))


def _outcome(call: Any, *args: Any) -> str:
    """ "ok", or the name of the errno that a call failed with."""
    try:
        call(*args)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok"


def describe(conn_fd: int, upcall_fd: int, args: dict[str, Any]) -> dict[str, Any]:
    """What this process holds and is."""
    fds = []
    for fd in range(1100):
        try:
            fds.append([fd, os.fstat(fd).st_ino])
        except OSError:
            continue
    return {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "fds": fds,
        "sid": os.getsid(0),
        "numbers": [conn_fd, upcall_fd],
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "sigint": signal.getsignal(signal.SIGINT) == signal.SIG_DFL,
        "sigpipe": signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN,
        "upcall": os.eventfd_read(upcall_fd),
        "epoll": VCPU().fileno(),
    }


def idle(conn_fd: int, _upcall_fd: int, _args: dict[str, Any]) -> str:
    """Say that it runs, then wait until the other end goes or somebody kills it."""
    os.write(conn_fd, msgpack.packb("up"))
    os.read(conn_fd, 1)
    return "done"


def sleep(conn_fd: int, _upcall_fd: int, _args: dict[str, Any]) -> None:
    """Say that it runs, then sleep whatever happens to its descriptors."""
    os.write(conn_fd, msgpack.packb("up"))
    while True:
        time.sleep(3600)


def talk(_conn_fd: int, _upcall_fd: int, _args: dict[str, Any]) -> None:
    """Write to the standard streams."""
    print("to the log")
    raise RuntimeError("and a traceback")


def leave(_conn_fd: int, _upcall_fd: int, args: dict[str, Any]) -> None:
    """Exit with a status of one's own."""
    raise SystemExit(args["status"])


def reach(_conn_fd: int, _upcall_fd: int, args: dict[str, Any]) -> dict[str, str]:
    """Try to open paths: {"path mode": outcome}."""
    modes = {"r": os.O_RDONLY, "w": os.O_WRONLY, "t": os.O_WRONLY | os.O_TRUNC}
    return {f"{path} {mode}": _outcome(os.open, path, modes[mode]) for path, mode in args["paths"]}


def calls(_conn_fd: int, _upcall_fd: int, args: dict[str, Any]) -> dict[str, str]:
    """Make raw system calls: {label: outcome}."""
    return {
        label: _outcome(syscalls.syscall, name, *numbers) for label, name, numbers in args["calls"]
    }


def everyday(conn_fd: int, upcall_fd: int, args: dict[str, Any]) -> list[str]:
    """What honest programs do has to work within the walls."""
    import decimal  # from the standard library, and not imported before  # noqa: F401
    import fcntl
    import threading

    area = mmap.mmap(-1, 1 << 20)
    area[0] = 1
    vcpu = VCPU()
    vcpu.add_upcall(upcall_fd, lambda: None)
    vcpu.block(0.0)
    fcntl.fcntl(upcall_fd, fcntl.F_SETFL, os.O_NONBLOCK)
    os.eventfd_write(upcall_fd, 1)
    done = ["mmap", "epoll", "eventfd"]
    os.urandom(8)
    time.sleep(0)
    signal.raise_signal(signal.SIGUSR1) if args.get("signal") else None
    thread = threading.Thread(target=done.append, args=("thread",))
    try:
        thread.start()
        thread.join()
    except RuntimeError:
        done.append("no thread")
    return done


def foreign_call(_conn_fd: int, _upcall_fd: int, _args: dict[str, Any]) -> str:
    """mov eax, 20 (getpid of i386); int 0x80; ret."""
    import ctypes

    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return "survived"


def remember(_conn_fd: int, _upcall_fd: int, _args: dict[str, Any]) -> bool:
    """Search all of this process's own memory for what another child was told.

    The expression does not match itself, so a match is somebody else's text.
    """
    pattern = re.compile(rb"told[-]to[-]another[-]domain")
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps.read().splitlines():
            area, access = line.split()[:2]
            first, last = (int(part, 16) for part in area.split("-"))
            if "w" not in access:
                continue
            memory.seek(first)
            if pattern.search(memory.read(last - first)):
                return True
    return False
