"""A root directory of one's own: the wall that keeps the machine's files from a domain.

Landlock judges the opening of files; chmod, stat, connect and a dozen other calls reach a file by
its path without opening it.  What has no path cannot be reached by any of them.  So each process of
a domain sees a tree in which nothing is but what it needs: the interpreter's files, or the
machine's programs, read-only; the files that the lab grants it; and for programs fresh and bounded
/tmp, /run, /dev/shm, a /proc of their own processes, and the domain's own door to xenstored.

The mounts belong to the user namespace *around* the domain's own: whatever it becomes in its own,
it cannot change one of them.

Sources: pivot_root(2), mount_namespaces(7), user_namespaces(7).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import granted, keeper, mounts, skeleton
from hvsim.spawn.sandbox.granted import Mode
from hvsim.spawn.sandbox.namespaces import FLAGS
from hvsim.spawn.sandbox.skeleton import FRESH, Skeleton

WRITABLE: Final = (*FRESH, "/dev", "/proc")
"""Where a program may do what the modes allow."""
STORE_SOCKET: Final = "/run/xenstored/socket"
"""Where an executable finds the door of its own domain."""
TMP_SIZE: Final = "size=256m,nr_inodes=65536"
_STATE_SIZE: Final = "size=16m,nr_inodes=16384"
_HOSTS: Final = "/etc/hosts"


@dataclass(frozen=True)
class Contents:
    """What one process's root directory holds beside its skeleton.

    Attributes:
        path: directories of the lab's programs, shown read-only where they exist.
        files: what the lab grants, which must exist.
        store: the socket of the domain's door to xenstored, for programs.
        hosts: name -> address, for their /etc/hosts.
    """

    path: tuple[str, ...] = ()
    files: tuple[tuple[str, Mode], ...] = ()
    store: str | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)


def enter(
    common: Skeleton,
    contents: Contents,
    *,
    proc: int,
    own: int | None,
    below: int | None,
    executables: bool,
    nested: bool,
) -> list[str]:
    """Take a mount namespace of one's own, make the root directory there, and go into it.

    For a process that still has the rights of the spawner of walled domains, and its mounts.

    Args:
        common: what many have in common.
        proc: descriptor of the machine's /proc.
        own: the id that the domain will have; None: it stays that of who runs the lab.
        below: descriptor of the process namespace of the domain's programs, when there is one.
        executables: the process runs programs of the machine.
        nested: its children are to live in such a namespace, which is made if need be.

    Returns:
        What the programs have to do without, which is no wall: a text for each.

    Raises:
        OSError: it could not be made; names the path that stood in the way.
    """
    fresh = FRESH if executables else ()
    grants = None
    if contents.path or contents.files:
        grants = granted.plan(contents.path, contents.files, common, own)
        common = grants.onto(common, fresh)
    base = skeleton.shared(common)
    syscalls.syscall("unshare", FLAGS["mount-ns"])
    if base is None:
        base = skeleton.private(common)
    umask = os.umask(0o022)
    try:
        if executables:
            _fresh(base, own)
            skeleton.add_late(common, base)
        if grants is not None:
            granted.lay(grants, base, proc, own, fresh)
        lacking = _for_programs(base, contents) if executables else []
        if executables:
            refused = _proc(base, own, below, nested)
            lacking += [f"/proc: {refused.strerror}"] if refused is not None else []
        mounts.enter(base)
    finally:
        os.umask(umask)
    return lacking


def _fresh(base: str, own: int | None) -> None:
    """The directories that are a program's own: /tmp, and parts of one small file system."""
    owner = "" if own is None else f",uid={own},gid={own}"
    flags = mounts.MS_NOSUID | mounts.MS_NODEV
    mounts.mount("tmpfs", f"{base}/tmp", flags, f"{TMP_SIZE},mode=1777{owner}")
    run = f"{base}/run"
    mounts.mount("tmpfs", run, flags, f"{_STATE_SIZE},mode=755{owner}")
    parts = [(path, path.strip("/").replace("/", "-")) for path in FRESH if path != "/tmp"]
    for path, name in parts:
        os.mkdir(f"{run}/{name}")
        os.chmod(f"{run}/{name}", 0o700 if path == "/root" else 0o1777)
        if own is not None:
            os.chown(f"{run}/{name}", own, own)
    os.mkdir(f"{run}/run/lock")
    os.chmod(f"{run}/run/lock", 0o1777)
    for path, name in sorted(parts, key=lambda part: part[0] == "/run"):  # /run itself last
        mounts.attach(f"{run}/{name}", base + path, mounts.NOSUID | mounts.NODEV)


def _for_programs(base: str, contents: Contents) -> list[str]:
    lacking: list[str] = []
    quiet = mounts.MS_NOSUID | mounts.MS_NOEXEC
    try:
        mounts.mount("devpts", f"{base}/dev/pts", quiet, "newinstance,ptmxmode=0666,mode=0620")
    except OSError as error:
        lacking.append(f"/dev/pts: {error.strerror}")
    if contents.store is not None:
        if os.path.exists(contents.store):
            skeleton.spot(base + STORE_SOCKET, False)
            mounts.attach(contents.store, base + STORE_SOCKET, mounts.NOSUID | mounts.NODEV)
        else:
            lacking.append("xenstored: the domain has no socket of its own")
    _hosts(base, contents.hosts)
    return lacking


def _proc(base: str, own: int | None, below: int | None, nested: bool) -> OSError | None:
    """Mount a /proc of the namespace that the programs live in, which somebody in it must do.

    Returns why there is none: the machine forbids it where its own /proc is partly covered
    (mount_too_revealing).  Raises: OSError: there is no such namespace.
    """

    def mount() -> None:
        # Read-only: what a program changes there is the kernel's, /proc/sys first of all.
        flags = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC | mounts.MS_RDONLY
        mounts.mount("proc", f"{base}/proc", flags)

    if nested:
        return keeper.start(own, mount) if below is None else keeper.enter(below, mount)
    try:
        mount()
    except OSError as error:
        return error
    return None


def _hosts(base: str, hosts: Mapping[str, str]) -> None:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    lines += [f"{address.partition('/')[0]} {name}" for name, address in hosts.items()]
    own = f"{base}/run/hosts"
    with open(own, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("\n".join(lines) + "\n")
    os.chmod(own, 0o644)
    mounts.attach(own, base + _HOSTS, mounts.RDONLY | mounts.NOSUID | mounts.NODEV)
