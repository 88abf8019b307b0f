"""What the machine has run out of, in words: what is short, the number, and the remedy.

The kernel answers a shortage with an errno that is the same for quite different things, and whose
text names none of them ("No space left on device" for a user namespace).  Whoever meets one asks
here.

Sources: clone(2), fork(2), open(2), getrlimit(2), user_namespaces(7), cgroups(7).
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
UNLIMITED: Final = resource.RLIM_INFINITY
_CGROUPS: Final = Path("/sys/fs/cgroup")
_SYS_USER: Final = Path("/proc/sys/user")
_KINDS: Final = {"user-ns": "user", "pid-ns": "pid", "mount-ns": "mnt", "net-ns": "net",
                 "ipc-ns": "ipc"}  # fmt: skip


def told(error: OSError, path: str | None = None) -> str | None:
    """The shortage that *error* is, None for an error that is none.

    One of a class of our own is none: it says itself what happened, whatever its number is.

    *path*: what was being written, where the error does not name it.
    """
    if type(error).__module__ != "builtins":
        return None
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            named = os.fsdecode(error.filename) if error.filename else path
            return no_space(named or "/", quota=error.errno == errno.EDQUOT)
        case errno.EMFILE:
            return no_files()
        case errno.ENFILE:
            return f"no open file is left on this machine (sysctl fs.file-max is {_file_max()})"
        case errno.ENOMEM:
            return f"no memory is left ({memory_left() // MIB} MiB are available); end something"
        case errno.EAGAIN if error.filename is None:  # of a file it is no fork
            return no_processes()
    return None


def words(error: OSError, path: str | None = None) -> str:
    """The same, or what the error says itself."""
    if said := told(error, path):
        return said
    if not error.errno:
        return str(error)  # a TimeoutError of our own, with a text of its own
    text = error.strerror or os.strerror(error.errno or 0)
    return f"{os.fsdecode(error.filename)}: {text}" if error.filename else text


# -- disk -----------------------------------------------------------------------------------------


def mount_point(path: str) -> str:
    """The directory at which the file system of *path* begins; of its parents, where it is not
    there."""
    place = os.path.abspath(path)
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    place = os.path.realpath(place)
    while not os.path.ismount(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return place


def space_left(path: str) -> tuple[int, int]:
    """Bytes and files that an ordinary user may still write there; -1 files where nobody counts
    them.  Raises OSError."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else -1


def no_space(path: str, *, quota: bool = False) -> str:
    """A file system is full."""
    place = mount_point(path)
    try:
        free, files = space_left(place)
    except OSError:
        return f"no space left on {place}"
    if quota:
        return f"your disk quota on {place} is used up; free some of it"
    if not files and free:
        return f"no space left on {place}: it takes no more files (inodes; df -i); remove some"
    return f"no space left on {place} ({free / MIB:.1f} MiB are free); free some"


# -- descriptors ----------------------------------------------------------------------------------


def files_limit() -> int:
    """How many files a process may have open, its own right to raise the limit used."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def no_files() -> str:
    """This process has as many open as it may."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"no open file is left: a process may have {limit} (ulimit -n); allow more in the shell "
        f"that starts the lab: `ulimit -n {max(4096, 4 * limit)}`"
    )


def _file_max() -> str:
    try:
        return Path("/proc/sys/fs/file-max").read_text().strip()
    except OSError:
        return "unknown"


# -- processes ------------------------------------------------------------------------------------


def processes_left() -> list[tuple[int, str]]:
    """How many more processes each limit allows, and that limit in words; none without limits."""
    found = []
    limit = _user_limit()
    if limit is not None:
        used = _tasks_of(os.getuid())
        what = f"your user may have {limit} processes (ulimit -u) and has {used}; end some"
        found.append((limit - used, what))
    return found + _cgroup_limits()


def no_processes() -> str:
    """The kernel makes no process any more.  In a process namespace nobody can count those of a
    user."""
    reached = [what for left, what in _cgroup_limits() if left <= 1]
    limit = _user_limit()
    if not reached and limit is not None:
        reached = [f"your user may have {limit} (ulimit -u); end some, or allow more"]
    said = reached or ["a limit of the machine is reached (sysctl kernel.pid_max)"]
    return f"no process is left: {said[0]}"


def _user_limit() -> int | None:
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return None if limit == UNLIMITED or os.geteuid() == 0 else limit


def _cgroup_limits() -> list[tuple[int, str]]:
    found = []
    for folder in _cgroups("pids"):
        allowed, there = _number(folder / "pids.max"), _number(folder / "pids.current")
        if allowed is not None and there is not None:
            what = f"the limit of {folder}/pids.max is {allowed}, and {there} are there; raise it"
            found.append((allowed - there, what))
    return found


def _tasks_of(uid: int) -> int:
    """Threads of a user: what the kernel counts."""
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                if entry.stat().st_uid == uid:
                    count += os.stat(f"/proc/{entry.name}/task").st_nlink - 2
            except OSError:
                continue  # it has ended
    return count


# -- memory ---------------------------------------------------------------------------------------


def memory_left() -> int:
    """Bytes that can still be had: of the machine, swap included, and of every cgroup around us."""
    found = []
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        kib = sum(int(rows[key].split()[0]) for key in ("MemAvailable", "SwapFree") if key in rows)
        found.append(kib * 1024)
    except (OSError, ValueError):
        pass
    for folder in _cgroups("memory"):
        allowed, used = _number(folder / "memory.max"), _number(folder / "memory.current")
        if allowed is not None and used is not None:
            found.append(max(0, allowed - used + _reclaimable(folder)))
    return min(found, default=1 << 62)


def _reclaimable(folder: Path) -> int:
    """Bytes of a cgroup that are only a cache."""
    try:
        rows = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(rows["inactive_file"]) + int(rows["active_file"])
    except (OSError, ValueError, KeyError):
        return 0


# -- namespaces -----------------------------------------------------------------------------------


def no_namespace(names: Iterable[str], error: OSError) -> str:
    """Why clone(2) or unshare(2) made no namespaces *names* (as under WALLS)."""
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        limits = {name: _number(_SYS_USER / f"max_{_KINDS[name]}_namespaces") for name in names}
        known = [f"max_{_KINDS[n]}_namespaces = {v}" for n, v in limits.items() if v is not None]
        return f"their limit is reached ({_SYS_USER}: {', '.join(known)})"
    return told(error) or error.strerror or "refused"


def forbidden_namespace(names: Iterable[str]) -> tuple[str, str] | None:
    """The first of *names* of which there may be none at all, and which file says so."""
    for name in names:
        path = _SYS_USER / f"max_{_KINDS[name]}_namespaces"
        if _number(path) == 0:
            return name, f"{path} is 0"
    return None


def _cgroups(controller: str) -> Iterator[Path]:
    """Our cgroup of a controller and those around it, as far as they can be seen from here."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = _CGROUPS
        elif controller in controllers.split(","):
            top = _CGROUPS / controller
        else:
            continue
        place = top / path.lstrip("/")
        while True:
            if place.is_dir():
                yield place
            if place in (top, place.parent):
                break
            place = place.parent


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # "max", or there is no such file
