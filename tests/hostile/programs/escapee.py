"""A program of the machine that turns hostile: run as ``python3 -c``, with nothing but ctypes.

``attempts`` prints one JSON object: attempt -> "ok", an errno, or what it found; ``gently`` it
stops nobody, who might be needed for passing that on.  ``linger`` leaves
processes behind in every way there is, says so, and stays.
"""

import ctypes
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_SEIZE = 0x4206
_PIDFD_OPEN, _PIDFD_GETFD, _PIDFD_SIGNAL = 434, 438, 424


def call(name: str, *args: Any) -> int:
    """A function of the C library; raises OSError."""
    done = int(getattr(_libc, name)(*args))
    if done == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done


def attempt(action: Callable[..., Any], *args: Any) -> Any:
    try:
        found = action(*args)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return "ok" if found is None else found


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def write(path: str) -> None:
    with open(path, "ab"):
        pass


def remount() -> None:
    call("mount", b"none", b"/usr", None, ctypes.c_ulong(32 | 4096), None)


def set_user_id_file() -> None:
    path = f"/tmp/suid-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o4755))
    os.unlink(path)


def set_user_id_later() -> None:
    path = f"/tmp/plain-{os.getpid()}"
    write(path)
    try:
        os.chmod(path, 0o4755)
    finally:
        os.unlink(path)  # without walls it is the machine's


def others() -> list[int]:
    """Whom it can name at all, but for itself."""
    return [pid for pid in range(1, 200) if pid != os.getpid() and os.path.exists(f"/proc/{pid}")]


def reached(action: Callable[[int], None]) -> list[int]:
    """Those among all numbers, named or not, with whom an action succeeds."""
    found = []
    for pid in range(1, 200):
        if pid not in (os.getpid(), os.getppid()) or os.getppid() == 1:
            try:
                action(pid)
                found.append(pid)
            except OSError:
                continue
    return found


def trace(pid: int) -> None:
    call("ptrace", _SEIZE, pid, None, None)


def steal(pid: int) -> None:
    fd = call("syscall", _PIDFD_OPEN, pid, 0)
    for number in range(16):
        try:
            os.close(call("syscall", _PIDFD_GETFD, fd, number, 0))
            return
        except OSError:
            continue
    raise OSError(errno.EPERM, "nothing")


def memory(pid: int) -> None:
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def descriptors(pid: int) -> None:
    os.listdir(f"/proc/{pid}/fd")


def stop(pid: int) -> None:
    """Stops it, if it can be stopped: then its state says so."""
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.05)
    with open(f"/proc/{pid}/stat") as file:
        if file.read().rpartition(")")[2].split()[0] != "T":
            raise OSError(errno.EPERM, "it goes on")


def first() -> str:
    with open("/proc/1/comm") as file:
        return file.read().strip()


def id_map() -> list[str]:
    with open("/proc/self/uid_map") as file:
        return file.read().split()


def logs() -> list[str]:
    """The machine's; its own, empty place for Xen's scripts is none of them."""
    found = [f"{up}/{name}" for up, _, names in os.walk("/var/log") for name in names]
    if not found and os.listdir("/var/log") == ["xen"]:
        raise FileNotFoundError(errno.ENOENT, "no logs")
    return found or os.listdir("/var/log")


def attempts() -> None:
    found = {
        "id map": attempt(id_map),
        "parent": os.getppid(),
        "first": attempt(first),
        "/etc/shadow": attempt(read, "/etc/shadow"),
        "/etc/sudoers": attempt(read, "/etc/sudoers"),
        "/etc/ssh": attempt(os.listdir, "/etc/ssh"),
        "/root": attempt(lambda: str(os.listdir("/root"))),
        "/var/log": attempt(logs),
        "write /proc/sys": attempt(write, "/proc/sys/kernel/printk"),
        "write /proc/sys/net": attempt(write, "/proc/sys/net/ipv4/ip_forward"),
        "write /usr": attempt(write, "/usr/hvsim-was-here"),
        "write /etc": attempt(write, "/etc/hvsim-was-here"),
        "write /etc/passwd": attempt(write, "/etc/passwd"),
        "sysrq": attempt(write, "/proc/sysrq-trigger"),
        "remount": attempt(remount),
        "set-user-id file": attempt(set_user_id_file),
        "set-user-id by chmod": attempt(set_user_id_later),
        "traced": attempt(reached, trace),
        "robbed": attempt(reached, steal),
        "read": attempt(reached, memory),
        "listed": attempt(reached, descriptors),
        "stopped": [] if "gently" in sys.argv else attempt(reached, stop),
        "others": others(),
    }
    print(json.dumps(found), flush=True)


def linger() -> None:
    """One process that just leaves, one stopped, one traced, one that forgets its death signal.

    Prints their numbers.
    """
    reader, writer = os.pipe()
    for kind in ("left", "stopped", "traced", "deaf"):
        if os.fork():
            continue
        os.setsid()
        if os.fork():
            os._exit(0)
        os.write(writer, b"%d\n" % os.getpid())
        os.closerange(0, 3)
        call("prctl", 1, 0, 0, 0, 0)  # PR_SET_PDEATHSIG: none
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if kind == "traced":
            traced = os.fork()
            if not traced:
                call("ptrace", 0, 0, None, None)
                os.kill(os.getpid(), signal.SIGSTOP)
            os.write(writer, b"%d\n" % traced)
        if kind == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        while True:
            signal.pause()
    said = b""
    while said.count(b"\n") < 5:  # four, and the one that is traced
        said += os.read(reader, 4096)
    print(json.dumps([int(line) for line in said.split()]), flush=True)
    signal.pause()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
