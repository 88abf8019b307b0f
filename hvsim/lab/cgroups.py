"""Where cgroups can be made for the domains of a lab, and the lab's own one there.

An ordinary user may make some in a part of the tree that was delegated to him, as systemd does for
what it starts for a user; root nearly always.  Where the kernel counts memory and processes in one
tree (version 2) a parent must have both controllers switched on for its children; where each has a
tree (version 1) ours is made below the one that we are in.

Whether it works is tried, by a process that moves into one.  What is made is written down in the
lab's record first, and is removed with it, also by whoever finds a dead lab.

Sources: cgroups(7), Linux Documentation/admin-guide/cgroup-v2.rst ("Delegation").
"""

import contextlib
import errno
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

CONTROLLERS: Final = ("memory", "pids")
PREFIX: Final = "hvsim-"
REMOVE_TIMEOUT: Final = 2.0
"""Seconds that the kernel has to let go of a cgroup whose processes have ended."""
_PROCS: Final = "cgroup.procs"
_MOVE: Final = 'for file; do echo $$ >"$file" || exit 1; done'

_tried: Final[set[frozenset[str]]] = set()
"""Where this process has seen that processes may be moved."""

Directories = dict[str, str]
"""Controller -> the lab's cgroup; the same for both in one tree."""


def make(lab: str, record: Callable[[list[str]], None]) -> Directories:
    """Make the lab's cgroups; empty when the machine does not allow any.

    Args:
        record: writes down what is about to be made.
    """
    name = f"{PREFIX}{lab}-{secrets.token_hex(4)}"
    for parents in places():
        wanted = {one: f"{parent}/{name}" for one, parent in parents.items()}
        paths = list(dict.fromkeys(wanted.values()))
        record(paths)
        try:
            for path in paths:
                os.mkdir(path)
            if len(paths) == 1:
                _write(f"{paths[0]}/cgroup.subtree_control", "+memory +pids")
            if (tried := frozenset(parents.values())) not in _tried:
                _try_out(paths)
                _tried.add(tried)
        except OSError:
            remove(paths)
            continue
        return wanted
    record([])
    return {}


def remove(recorded: object) -> list[str]:
    """Remove cgroups that a record names, with those in them; returns those that could not be.

    Only what is a cgroup and has a name of ours is touched, and only while no process is in it.
    """
    paths = [path for path in recorded if _ours(path)] if isinstance(recorded, list) else []
    deadline = time.monotonic() + REMOVE_TIMEOUT
    while left := [path for path in paths if not _removed(Path(path))]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.01)
    return []


def places(proc: Path = Path("/proc/self")) -> Iterator[Directories]:
    """Where to try: for each controller the directory to make a cgroup in, the nearest first.

    *proc*: where a process's ``mountinfo`` and ``cgroup`` are; there may be none.
    """
    try:
        mounts = list(_mounts(proc))
        ours = _memberships(proc)
    except OSError:
        return
    if all(any(one in kinds for _, kinds, _ in mounts) for one in CONTROLLERS):
        found: Directories = {}
        for one in CONTROLLERS:
            for point, kinds, root in mounts:
                if one in kinds:
                    where = _below(point, root, ours.get(one, "/"))
                    if where is not None and os.access(where, os.W_OK):
                        found[one] = str(where)
        if len(found) == len(CONTROLLERS):
            yield found
    for point, kinds, root in mounts:
        if kinds:
            continue
        where = _below(point, root, ours.get("", "/"))
        while where is not None and (where == point or point in where.parents):
            if _passes_on(where):
                yield dict.fromkeys(CONTROLLERS, str(where))
            where = where.parent


def _passes_on(path: Path) -> bool:
    """Whether children of a cgroup of version 2 have both controllers, and we may make some."""
    try:
        switched = (path / "cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False
    return (
        set(CONTROLLERS) <= set(switched)
        and os.access(path, os.W_OK)
        and os.access(path / _PROCS, os.W_OK)
    )


def _below(point: Path, root: str, membership: str) -> Path | None:
    """Where a membership (/proc/self/cgroup) is, under a mount that shows the tree from *root*."""
    if root == "/":
        return point / membership.lstrip("/")
    if membership == root or membership.startswith(f"{root}/"):
        return point / membership[len(root) :].lstrip("/")
    return None


def _mounts(proc: Path) -> Iterator[tuple[Path, frozenset[str], str]]:
    """(mount point, controllers, shown root) of each tree; no controllers for version 2."""
    for line in (proc / "mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = [*rest.split(" ", 2), "", ""][:3]
        words = fields.split(" ")
        if kind == "cgroup2":
            yield Path(words[4]), frozenset(), words[3]
        elif kind == "cgroup":
            yield Path(words[4]), frozenset(options.split(",")), words[3]


def _memberships(proc: Path) -> dict[str, str]:
    """Controller -> the cgroup that we are in; "" for version 2."""
    found: dict[str, str] = {}
    for line in (proc / "cgroup").read_text(errors="surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        for one in controllers.split(","):
            found[one] = path
    return found


def _try_out(paths: Iterable[str]) -> None:
    """Move a process into each and see it end.  Raises OSError."""
    probes = [f"{path}/probe" for path in paths]
    for probe in probes:
        os.mkdir(probe)
    try:
        files = [f"{probe}/{_PROCS}" for probe in probes]
        done = subprocess.run(["/bin/sh", "-c", _MOVE, "sh", *files], stderr=subprocess.DEVNULL)
        if done.returncode:
            raise OSError(errno.EPERM, "no process may be moved there")
    finally:
        for probe in probes:
            with contextlib.suppress(OSError):
                os.rmdir(probe)


def _ours(path: object) -> bool:
    return (
        isinstance(path, str)
        and os.path.isabs(path)
        and os.path.basename(path).startswith(PREFIX)
        and os.path.exists(f"{path}/{_PROCS}")
    )


def _removed(path: Path) -> bool:
    with contextlib.suppress(OSError):
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                with contextlib.suppress(OSError):
                    child.rmdir()
        path.rmdir()
    return not path.exists()


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
