"""The walls around one domain process, built from inside by the process itself.

:func:`enter` is called once, in the child, after the clone into namespaces of its own
(:mod:`~hvsim.domain.sandbox.namespaces`) and before any code of the domain runs.  Each wall
stands without the others; what the machine does not allow is reported, not hidden.

====================  =====================================================================
wall                  keeps the domain from
====================  =====================================================================
namespaces            seeing or signalling other processes, /proc, System V IPC, networks
descriptors           everything it was not given at birth
capabilities          whatever root may do
limits                exhausting descriptors, memory, disk
Landlock              opening paths that are not its own; abstract sockets and signals
seccomp               system calls that reach other processes, sockets with a path, flags
                      of shared open files, and the rarely used parts of the kernel
====================  =====================================================================
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hvsim.domain.sandbox import landlock, limits, namespaces, root, seccomp, syscalls
from hvsim.domain.sandbox.namespaces import FLAGS as NAMESPACES
from hvsim.domain.sandbox.seccomp import Profile

#: What a test may leave out, to see that the hostile-guest test notices.
WALLS: Final = ("namespaces", "dumpable", "limits", "capabilities", "landlock", "seccomp")

#: Directories that a domain with a mount namespace of its own sees empty.
_HIDDEN: Final = ("/proc", "/sys")

#: Where a network stack of our own gets links from.
_TUN: Final[list[tuple[str, landlock.Mode]]] = [("/dev/net/tun", "rw")]

__all__ = ["NAMESPACES", "WALLS", "Executables", "Profile", "enter"]


@dataclass(frozen=True)
class Executables:
    """What a process gets in order to run programs of the machine.

    Attributes:
        ids: the effective user and group outside; inside, it is root.
        store: the socket of the domain's own door to xenstored, None without one.
        hosts: name -> address of the lab's guests.
    """

    ids: tuple[int, int] = (0, 0)
    store: str | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)


def enter(
    profile: Profile,
    files: Iterable[tuple[str, landlock.Mode]],
    readable: Iterable[str],
    *,
    landlock_abi: int,
    missing: Collection[str] = (),
    without: Collection[str] = (),
    executables: Executables | None = None,
    network: bool = False,
) -> list[str]:
    """Shut this process in.  There is no way back.

    Args:
        profile: "driver" may use threads and ``fallocate`` and holds more descriptors; "program"
            may start programs of the machine.
        files: the paths that the domain's configuration names, with their mode.
        readable: what the interpreter needs; a path that does not exist is passed over.
        landlock_abi: from :func:`landlock.probe_abi`.
        missing: what is known to be missing already (namespaces).
        without: walls to leave out; for tests of the tests only.
        executables: for profile "program" only.
        network: the domain has a network stack of its own: it stays its administrator, where it
            has namespaces of its own for it.

    Returns:
        ``missing`` and what this process could not get, one short text each.

    Raises:
        OSError: a wall that the machine has could not be built; the caller must not go on.
    """
    report = list(missing)
    files = list(files)
    readable = list(readable)
    report += [f"{wall}: left out for a test" for wall in WALLS if wall in without]
    absent = {entry.partition(":")[0] for entry in report}
    own_user_namespace = not absent & {"namespaces", "user-ns"}
    mapped = executables is not None and own_user_namespace
    own_network = own_user_namespace and "net-ns" not in absent
    networked = network and own_network
    if mapped:
        assert executables is not None
        namespaces.map_to_root(*executables.ids)
    own_root = False
    if own_user_namespace and "mount-ns" not in absent:
        try:
            if executables is None:
                namespaces.hide(_HIDDEN)
            else:
                report += _new_root(executables, files, readable)
                own_root = True
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            report.append(f"hidden-proc: {error.strerror}{where}")
    if "dumpable" not in without and not own_user_namespace:
        # Siblings have our uid and are in our user namespace: the last thing between them
        # and our memory is this flag. With a namespace it would only keep the lab's owner
        # from measuring us.
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if "limits" not in without:
        writes = any(mode == "rw" for _, mode in files)
        report += limits.apply(profile, writes)
    if "capabilities" not in without:
        syscalls.drop_capabilities(keep=_capabilities(mapped, networked))
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    if "landlock" not in without:
        if executables is None:
            report += landlock.restrict(
                [*files, *(_TUN if networked and os.path.exists(_TUN[0][0]) else ())],
                readable,
                landlock_abi,
                network=networked,
            )
        else:
            report += landlock.restrict(
                [*files, *((path, "all") for path in root.WRITABLE if own_root)],
                readable,
                landlock_abi,
                executable=("/",) if own_root else root.SYSTEM,
                network=own_network,
                scoped=not own_network,
            )
    # Last of the credentials' changes, first of what seccomp forbids.
    syscalls.set_death_signal(9)
    if "seccomp" not in without:
        try:
            seccomp.install(profile, os.getpid(), networked)
        except OSError as error:
            report.append(f"seccomp: {error.strerror}")
    return report


def _capabilities(mapped: bool, networked: bool) -> tuple[int, ...]:
    if mapped:
        return syscalls.PROGRAM_CAPABILITIES
    return syscalls.NETWORK_CAPABILITIES if networked else ()


def _new_root(
    executables: Executables, files: Iterable[tuple[str, landlock.Mode]], readable: Iterable[str]
) -> list[str]:
    return root.enter(
        [path for path, _ in files],
        readable,
        store=executables.store,
        hosts=executables.hosts or None,
    )
