"""Where a hotplug script of dom0 stands: among the links of dom0's kernel process, and with places
of the lab's own for what scripts leave on a machine.

A script of Xen's changes links, locks /run/xen-hotplug, and writes to /var/log/xen.  The links of a
lab are in a network namespace of the process that serves vifs; the two directories are bound over
with the lab's, in a mount namespace of the script's, so that nothing of the machine is touched.

For a trusted process without walls, before it does anything else; it must have one thread.

Sources: setns(2), mount_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Final

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import mounts, namespaces, skeleton
from hvsim.spawn.sandbox.namespaces import FLAGS
from hvsim.wire.spawn import Room

_QUIET: Final = mounts.MS_NOSUID | mounts.MS_NODEV


def enter(room: Room) -> None:
    """Go there.

    Args:
        room: which links are meant, and which directories of the lab are to be seen where.

    Raises: OSError: the machine allows no mount namespace.
    """
    ids = (os.geteuid(), os.getegid())
    host = room.network
    joined = _join(host) if host else False
    if joined or ids[0] == 0:
        syscalls.syscall("unshare", FLAGS["mount-ns"])
    else:
        syscalls.syscall("unshare", FLAGS["user-ns"] | FLAGS["mount-ns"])
        joined = True
    if joined:
        _map_to_root(*ids)
    syscalls.set_death_signal(signal.SIGKILL)
    mounts.follow_only()
    for path, source in room.places.items():
        _cover(Path(path), source, Path(room.mount))
    if host:
        # /sys shows the links of whoever mounted it.
        with contextlib.suppress(OSError):
            mounts.mount("sysfs", "/sys", _QUIET | mounts.MS_NOEXEC)


def _join(pid: int) -> bool:
    """Enter the network of a process, and its user namespace where that is another one."""
    pidfd = os.pidfd_open(pid)
    try:
        user = f"/proc/{pid}/ns/user"
        other = os.stat(user).st_ino != os.stat("/proc/self/ns/user").st_ino
        namespaces.join(pidfd, ("user-ns", "net-ns") if other else ("net-ns",))
    finally:
        os.close(pidfd)
    return other


def _cover(path: Path, source: str, scratch: Path) -> None:
    """Show *source* at *path*, which need not exist: then its parent is shown anew, with it."""
    path = path.parent.resolve() / path.name
    if not path.is_dir():
        mounts.mount("tmpfs", str(scratch), _QUIET, "size=1m,mode=755")
        with os.scandir(path.parent) as entries:
            for entry in entries:
                if entry.is_symlink():
                    (scratch / entry.name).symlink_to(os.readlink(entry.path))
                    continue
                with contextlib.suppress(OSError):  # what we may not see no script of ours may
                    _bind(entry.path, scratch / entry.name)
        (scratch / path.name).mkdir()
        mounts.attach(str(scratch), str(path.parent), 0)
    mounts.attach(source, str(path), 0)


def _bind(source: str, target: Path) -> None:
    skeleton.spot(str(target), os.path.isdir(source))
    mounts.attach(source, str(target), 0)


def _map_to_root(uid: int, gid: int) -> None:
    """Make id 0 in our user namespace mean *uid* and *gid* outside, unless it means something yet:
    without a map a program has no rights even over its own namespaces (user_namespaces(7))."""
    with open("/proc/self/uid_map", "rb") as known:
        if known.read(1):
            return
    rows = (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"))
    for name, text in rows:
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
