"""The walls around one domain process, built from inside by the process itself.

:func:`enter` is called once, in the child, before any code of the domain runs.

====================  =====================================================================
wall                  keeps the domain from
====================  =====================================================================
user-ns               being anybody on the machine: its rights end in its own namespace
pid-ns                seeing, tracing or signalling other processes; outliving the lab
ipc-ns, net-ns        System V IPC and abstract sockets; networks
mount-ns, root        every path that is not its own, whatever the call: open, chmod, stat,
                      connect, inotify (:mod:`~hvsim.spawn.sandbox.root`)
own-uid               in a lab that root runs: being root of the machine, and being the same
                      user as another domain (:mod:`~hvsim.spawn.sandbox.identity`)
programs              as a program of the machine: seeing the process that is its kernel
                      (:mod:`~hvsim.spawn.sandbox.keeper`)
descriptors           everything it was not given at birth
capabilities          whatever root may do
limits                exhausting descriptors, memory, disk
seccomp               system calls that reach other processes, sockets with a path, modes and
                      owners of files, flags of shared open files, and the rarely used parts
                      of the kernel
Landlock              opening paths that are not its own; abstract sockets and signals
====================  =====================================================================

**What cannot be confined does not start.**  All of these are mandatory but the last: a domain whose
wall cannot be raised fails with a :class:`WallError`, one sentence with the remedy, unless its lab
says ``walls = "what-there-is"``.  Landlock is an extra.  What it judges is out of sight already in
a root directory of one's own, and an older kernel lacks it, or parts of it; so its absence is shown
(``hvsim ps``, WALLS) and stops nobody.  Where there is no root directory it is what is left.

What the machine does not allow is reported, never hidden: "all" is said of a process only when each
of these stands.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import capabilities, cgroup, landlock, limits, root, seccomp
from hvsim.spawn.sandbox.apart import move_apart, stay
from hvsim.spawn.sandbox.namespaces import FLAGS as NAMESPACES
from hvsim.spawn.sandbox.place import Executables, Outcome, Place, Where
from hvsim.spawn.sandbox.refusal import WallError
from hvsim.spawn.sandbox.seccomp import Profile
from hvsim.spawn.sandbox.system_files import SYSTEM, TUN
from hvsim.spawn.sandbox.walls import Walls
from hvsim.wire.walls import WALLS

__all__ = [
    "NAMESPACES",
    "WALLS",
    "Executables",
    "Outcome",
    "Place",
    "Profile",
    "WallError",
    "enter",
]

_TUN: Final[list[tuple[str, landlock.Mode]]] = [(TUN, "rw")]


def enter(
    profile: Profile,
    files: Iterable[tuple[str, Literal["r", "rw"]]],
    path: Iterable[str],
    *,
    readable: Sequence[str],
    landlock_abi: int,
    place: Place | None = None,
    missing: Collection[str] = (),
    without: Collection[str] = (),
    lenient: bool = False,
    executables: Executables | None = None,
    network: bool = False,
    pages: int = 0,
    uncounted: str = "",
) -> Outcome:
    """Shut this process in.  There is no way back.

    Args:
        profile: "driver" may use threads and ``fallocate`` and holds more descriptors; "program"
            may start programs of the machine.
        files: the paths that the domain's configuration names, with their mode.
        path: directories of the lab's own programs.
        readable: what the interpreter needs; a path that does not exist is passed over.
        landlock_abi: from :func:`landlock.probe_abi`.
        place: from the spawner of walled domains; without it there are no namespaces but those
            that the clone has made, and no root directory.
        missing: the namespaces that the clone could not make.
        without: walls to leave out; for tests of the tests only.
        lenient: start with what there is.
        executables: for profile "program" only.
        network: the domain has a network stack of its own: it stays its administrator, where it
            has namespaces of its own for it.
        pages: the domain's RAM.
        uncounted: why no memory cgroup counts what the process takes; "" when one does.

    Raises:
        WallError: one cannot be raised, and the process is not lenient; it must not go on.
        OSError: a granted file is not there.
    """
    walls = Walls(lenient, without)
    files, path = list(files), list(path)
    at_birth = limits.born(None if place is None else place.proc)
    if place is not None:
        where = move_apart(walls, place, files, path, executables, network)
    else:
        where = stay(walls, missing, executables)
    networked = network and where.own_user and where.own_network
    if "dumpable" not in without and not where.own_user:
        # Siblings have our uid and are in our user namespace: the last thing between them
        # and our memory is this flag. With a namespace it would only keep the lab's owner
        # from measuring and moving us.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if "limits" not in without:
        writes = any(mode == "rw" for _, mode in files)
        budget = limits.Budget(
            profile, pages, writes, where.own_user, where.own_uid, counted=not uncounted
        )
        for text in limits.apply(budget, at_birth):
            name, _, why = text.partition(": ")
            walls.lost(name, why)
        if uncounted and (networked or profile != "guest"):
            walls.report.append(f"{cgroup.KERNEL_MEMORY}: {uncounted}")
    if "capabilities" not in without:
        keep = capabilities.KERNEL if executables is not None else capabilities.NETWORK
        kept = where.own_user and (executables is not None or networked)
        walls.build("capabilities", lambda: capabilities.drop(keep if kept else ()))
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if "landlock" not in without:
        readable = ["/"] if where.own_root else [*readable, *map(os.path.abspath, path)]
        walls.report += _landlock(where, files, readable, executables, networked, landlock_abi)
    # Last of the credentials' changes, first of what seccomp forbids.
    syscalls.set_death_signal(9)
    if "seccomp" not in without:
        walls.build("seccomp", lambda: seccomp.install(profile, os.getpid(), networked))
    return Outcome(walls.report, where.lacking)


def _landlock(
    where: Where,
    files: Sequence[tuple[str, Literal["r", "rw"]]],
    readable: Sequence[str],
    executables: Executables | None,
    networked: bool,
    abi: int,
) -> list[str]:
    """What Landlock could not refuse.  In a root directory of its own a process may read all."""
    if executables is None:
        tun = _TUN if networked and os.path.exists(TUN) else []
        return landlock.restrict([*files, *tun], readable, abi, network=networked)
    everything: list[tuple[str, landlock.Mode]] = [(path, "all") for path in root.WRITABLE]
    return landlock.restrict(
        [*files, *(everything if where.own_root else [])],
        readable,
        abi,
        executable=("/",) if where.own_root else SYSTEM,
        network=where.own_network,
        scoped=not where.own_network,
    )
