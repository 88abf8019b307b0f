"""A process moves apart from the machine: its root directory, its id, its namespaces.

The order matters.  Everything that is mounted is mounted with the rights of the spawner around it,
and belongs to that one's user namespace; then the process takes an id of its own; and the namespace
in which it is root comes last, with the network that it may administer.
"""

import contextlib
import os
from collections.abc import Collection, Sequence
from typing import Final, Literal

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import identity, keeper, mounts, namespaces, quotas, root
from hvsim.spawn.sandbox.namespaces import FLAGS
from hvsim.spawn.sandbox.place import Executables, Place, Where
from hvsim.spawn.sandbox.refusal import reason
from hvsim.spawn.sandbox.walls import Walls

#: Directories that a process without a root directory of its own sees empty, where it can be.
_HIDDEN: Final = ("/proc", "/sys")


def move_apart(
    walls: Walls,
    place: Place,
    files: Sequence[tuple[str, Literal["r", "rw"]]],
    path: Sequence[str],
    executables: Executables | None,
    network: bool,
) -> Where:
    """For a child of the spawner of walled domains.

    Raises:
        WallError: as ``Walls``.
        OSError: a granted file is not there.
    """
    own = _own_id(walls, place)
    nested = executables is not None and "programs" not in walls.without
    lacking: list[str] = []
    own_root = False
    if "root" in walls.without:
        walls.build("mount-ns", lambda: syscalls.syscall("unshare", FLAGS["mount-ns"]))
        _hide()
        if nested:
            _nest(place, own)
    else:
        contents = root.Contents(
            tuple(path),
            tuple(files),
            executables.store if executables is not None else None,
            executables.hosts if executables is not None else {},
        )
        try:
            lacking = root.enter(
                place.skeleton(executables is not None, network),
                contents,
                proc=place.proc,
                own=own,
                below=place.below,
                executables=executables is not None,
                nested=nested,
            )
            own_root = True
        except FileNotFoundError:
            raise  # of a file that the lab grants; no wall is missing
        except OSError as error:
            why = reason(error)
            walls.lost("root", why)
            walls.build("mount-ns", lambda: syscalls.syscall("unshare", FLAGS["mount-ns"]))
            _hide()
            if nested:
                walls.lost("programs", why)
            if own is not None and place.joined is None:  # who joins gets the domain's id there
                walls.lost("own-uid", "without a root directory its files are out of reach")
                own = None
    if own is not None and place.joined is None:
        own = _become(walls, own)
    if place.joined is not None:
        own_user = _join(walls, place.joined, own)
        own_network = own_user
    else:
        own_user = walls.build("user-ns", lambda: _own_namespace(place, own))
        own_network = walls.build("net-ns", lambda: syscalls.syscall("unshare", FLAGS["net-ns"]))
    if own_user and executables is not None:  # also for who joins a domain that runs none itself
        walls.report += quotas.set_low(place.proc, quotas.USER)
    if place.joined is None and own_user and own_network:
        walls.report += quotas.set_low(place.proc, quotas.NETWORK)
    for fd in (place.proc, place.joined, place.below):
        if fd is not None:
            os.close(fd)
    return Where(own_root, own_user, own_network, own is not None, tuple(lacking))


def stay(walls: Walls, missing: Collection[str], executables: Executables | None) -> Where:
    """For a process that must do with the namespaces that its clone has made.

    Raises: WallError: as ``Walls``.
    """
    for text in missing:
        wall, _, why = text.partition(": ")
        walls.lost(wall, why)
    absent = {text.partition(":")[0] for text in walls.report}
    apart = "namespaces" not in absent
    own_user = apart and "user-ns" not in absent
    if apart:
        walls.lost("root", "it takes all of the namespaces")
        if os.geteuid() == 0:
            walls.lost("own-uid", "it takes all of the namespaces")
        if executables is not None:
            walls.lost("programs", "it takes all of the namespaces")
    if own_user and executables is not None:
        _map_as_it_is()
    if own_user and "mount-ns" not in absent:
        _hide()
    return Where(own_user=own_user, own_network=own_user and "net-ns" not in absent)


def _own_id(walls: Walls, place: Place) -> int | None:
    if not place.spare_ids or "own-uid" in walls.without:
        return None
    if place.joined is not None:
        return identity.own_id(namespaces.host_pid(place.proc, place.joined))
    return identity.own_id(int(os.readlink("self", dir_fd=place.proc)))


def _nest(place: Place, own: int | None) -> None:
    """For tests: the namespace of programs without the root directory."""
    if place.below is not None:
        keeper.enter(place.below, _nothing)
    else:
        keeper.start(own, _nothing)


def _nothing() -> None:
    pass


def _become(walls: Walls, own: int) -> int | None:
    return own if walls.build("own-uid", lambda: identity.become(own)) else None


def _own_namespace(place: Place, own: int | None) -> None:
    """A user namespace in which this process is root, and nobody else is anybody."""
    syscalls.syscall("unshare", FLAGS["user-ns"])
    uid, gid = place.ids if own is None else (own, own)
    identity.map_as_root(place.proc, "self", uid, gid)


def _join(walls: Walls, pidfd: int, own: int | None) -> bool:
    """Become one more process of a domain: in its namespaces, with its id."""

    def join() -> None:
        if own is not None:
            os.setgroups(())
        namespaces.join(pidfd, ("net-ns", "ipc-ns", "user-ns"))
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)

    return walls.build("user-ns", join)


def _map_as_it_is() -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open("/proc/self/uid_map", "rb") as known:
            mapped = bool(known.read(1))  # by another process of the domain
        if not mapped:
            identity.map_as_root(proc, "self", os.geteuid(), os.getegid())
    finally:
        os.close(proc)


def _hide() -> None:
    """Put an empty, read-only file system over /proc and /sys.

    Landlock does not judge what is reached through ``/proc/self/fd``: it lets memfds, pipes
    and sockets pass (linux: ``is_nouser_or_private``), so a memfd that came read-only could be
    opened anew for writing there.  Seals refuse the writing; this refuses the opening.
    """
    flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    for path in _HIDDEN:
        with contextlib.suppress(OSError):
            mounts.mount("tmpfs", path, flags)
