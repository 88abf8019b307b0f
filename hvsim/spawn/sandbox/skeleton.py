"""The part of a root directory that many processes have in common, made once for all of them.

The spawner of the walled domains has a *workshop*: a small file system in its own mount namespace,
where children that still share that namespace put skeletons together.  A child then takes a mount
namespace of its own, which is a copy, and lays over its skeleton what only it may see.  So the
common part costs a domain nothing but the copy of some mounts; and nothing of what one domain was
told is in the memory of the process that makes the next one.

A skeleton's name is a digest of what is in it.  There are few of them, because every domain copies
them all; whoever finds no place makes its own, in its own namespace.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from hvsim.spawn.sandbox import mounts
from hvsim.spawn.sandbox.system_files import ACCOUNTS, DEVICES, ETC, SYSTEM, TUN
from hvsim.spawn.sandbox.trail import follow, is_below

WORKSHOP: Final = "/proc"
"""Over a directory that every system has and no domain needs."""
MOST: Final = 8
_OWN: Final = f"{WORKSHOP}/own"
NODES: Final = f"{WORKSHOP}/nodes"
"""Where a child makes device nodes, in a mount namespace of its own."""
_READY: Final = ".ready"
_WORKSHOP_SIZE: Final = "size=1m,nr_inodes=1024,mode=700"
_SIZE: Final = "size=1m,nr_inodes=4096,mode=755"

FRESH: Final = ("/tmp", "/var/tmp", "/var/log/xen", "/run", "/dev/shm", "/root")
"""Directories of a program's root that are empty at first and may be written to."""


@dataclass(frozen=True)
class Skeleton:
    """What is in a skeleton, without what the lab grants to one domain.

    Attributes:
        parts: existing paths without links, shown read-only; none is below another.
        links: (place, target) of symbolic links.
        directories: that are there, empty.
        files: path -> text.
        spots: what is laid over later: (path, whether it is a directory).
        late: as *parts*, and
        late_links: as *links*, but in directories that are fresh for each process: made there.
    """

    parts: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    spots: tuple[tuple[str, bool], ...] = ()
    late: tuple[str, ...] = ()
    late_links: tuple[tuple[str, str], ...] = ()

    def covers(self, path: str) -> bool:
        """Whether a path without links is in one of the parts."""
        return any(is_below(path, part) for part in (*self.parts, *self.late))

    @cached_property
    def name(self) -> str:
        """The same for what is the same."""
        return hashlib.sha256(repr(self).encode(errors="surrogateescape")).hexdigest()[:24]


def survey(paths: Iterable[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Parts and links for paths that may be reached by links; what does not exist is left out."""
    parts: set[str] = set()
    links: dict[str, str] = {}
    for path in paths:
        if os.path.exists(path):
            trail = follow(os.path.abspath(path))
            parts.add(trail.real)
            links.update(trail.links)
    kept: list[str] = []
    for part in sorted(parts):
        if not kept or not is_below(part, kept[-1]):
            kept.append(part)
    needed = {(at, to) for at, to in links.items() if not any(is_below(at, part) for part in kept)}
    return tuple(kept), tuple(sorted(needed))


def for_guests(readable: Iterable[str]) -> Skeleton:
    """That of a domain which runs one program of ours, in the interpreter that it was born with."""
    return Skeleton(*survey(readable))


def for_programs(readable: Iterable[str]) -> Skeleton:
    """That of a process which runs programs of the machine."""
    listed = [*SYSTEM, *(f"/dev/{name}" for name in DEVICES), *(f"/etc/{name}" for name in ETC)]
    parts, links = survey([*listed, TUN, *readable])
    devices = (
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/fd", "/proc/self/fd"),
        ("/var/run", "/run"),
        ("/var/lock", "/run/lock"),
        *((f"/dev/std{name}", f"/proc/self/fd/{n}") for n, name in enumerate(("in", "out", "err"))),
    )
    files = (*ACCOUNTS.items(), ("resolv.conf", ""), ("hosts", "127.0.0.1 localhost\n"))
    return Skeleton(
        tuple(part for part in parts if not is_fresh(part)),
        (
            *(link for link in links if not is_fresh(link[0])),
            *devices,
            ("/etc/mtab", "/proc/self/mounts"),
        ),
        (*FRESH, "/dev/pts", "/proc", "/home", "/mnt"),
        tuple((f"/etc/{name}", text) for name, text in files),
        late=tuple(part for part in parts if is_fresh(part)),
        late_links=tuple(link for link in links if is_fresh(link[0])),
    )


def is_fresh(path: str) -> bool:
    """Whether a path is below one of the directories that are a program's own."""
    return any(is_below(path, one) for one in FRESH)


def add_late(skeleton: Skeleton, base: str) -> None:
    """Put in what lies in fresh directories.  Raises: OSError."""
    for part in skeleton.late:
        show(part, base)
    make_links(skeleton.late_links, base)


def open_workshop() -> int:
    """In the spawner of the walled domains: a mount namespace that is ready for all this.

    Returns: a descriptor of the /proc that lies below the workshop from now on.

    Raises: OSError: mounts are forbidden.
    """
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts.follow_only()
        mounts.mount("tmpfs", WORKSHOP, mounts.MS_NOSUID | mounts.MS_NODEV, _WORKSHOP_SIZE)
        os.mkdir(_OWN)
        os.mkdir(NODES)
    except OSError:
        os.close(proc)
        raise
    return proc


def shared(skeleton: Skeleton) -> str | None:
    """Where this skeleton is, made now if need be; None when there is no more room, or another
    child is making it.  For children that share the spawner's mount namespace.

    Raises: OSError.
    """
    base = f"{WORKSHOP}/{skeleton.name}"
    if os.path.exists(base + _READY):
        return base
    if sum(not name.endswith(_READY) for name in os.listdir(WORKSHOP)) >= MOST + 2:
        return None
    try:
        os.mkdir(base)
    except FileExistsError:
        return None
    build(skeleton, base)
    os.close(os.open(base + _READY, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return base


def private(skeleton: Skeleton) -> str:
    """A skeleton for this process alone, in a mount namespace of its own.  Raises: OSError."""
    build(skeleton, _OWN)
    return _OWN


def build(skeleton: Skeleton, base: str) -> None:
    """Put a skeleton together at the directory *base*; nothing can be written there afterwards.

    Raises: OSError.
    """
    umask = os.umask(0o022)
    try:
        mounts.mount("tmpfs", base, mounts.MS_NOSUID | mounts.MS_NODEV, _SIZE)
        for part in skeleton.parts:
            show(part, base)
        for path in skeleton.directories:
            os.makedirs(base + path, exist_ok=True)
        make_links(skeleton.links, base)
        for path, text in skeleton.files:
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            with open(base + path, "w", encoding="utf-8") as file:
                file.write(text)
        for path, directory in skeleton.spots:
            spot(base + path, directory)
        mounts.seal(base)
    finally:
        os.umask(umask)


def make_links(links: Iterable[tuple[str, str]], base: str) -> None:
    """Make symbolic links, but for those that are there.  Raises: OSError."""
    for at, target in links:
        os.makedirs(os.path.dirname(base + at), exist_ok=True)
        if not os.path.lexists(base + at):
            os.symlink(target, base + at)


def show(path: str, base: str) -> None:
    """Show an existing path without links read-only under its own name in *base*.

    Raises: OSError.
    """
    mode = os.stat(path).st_mode
    spot(base + path, stat.S_ISDIR(mode))
    device = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
    mounts.attach(
        path, base + path, mounts.RDONLY | mounts.NOSUID | (0 if device else mounts.NODEV)
    )


def spot(target: str, directory: bool) -> None:
    """Something that can be mounted over, unless it is there.  Raises: OSError."""
    if os.path.exists(target):
        return
    if directory:
        os.makedirs(target)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
