"""Which system calls a domain may not make, as data, and the call that makes it so.

The list refuses; it does not enumerate what is allowed.  A guest's program is anybody's
Python, and an allow-list would break it with every new C library.  What must not happen is
known, though: reaching another process, another namespace, a path's socket, kernel
interfaces with a history, or the flags of an open file that a peer shares.  Calls newer
than this list do not exist for a domain (ENOSYS).
"""

import ctypes
import errno
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import resources
from hvsim.spawn.sandbox.bpf import Arg, Deny, assemble

Profile = Literal["guest", "driver", "program"]

SECCOMP_SET_MODE_FILTER: Final = 1
#: The last system call that was judged for the list below (removexattrat, Linux 6.13).
HIGHEST: Final = 466

_O_NONBLOCK: Final = 0o4000
_O_ASYNC: Final = 0o20000
_F_SETFL: Final = 4
_CLONE_THREAD: Final = 0x0001_0000
_CLONE_NAMESPACES: Final = 0x7E02_0000  # user, pid, net, uts, ipc, cgroup, mount


def _words(*lines: str) -> tuple[str, ...]:
    return tuple(word for line in lines for word in line.split())


#: Never needed by a domain, whatever the arguments.
_REFUSED: Final = _words(
    # another process: its memory, its descriptors, its identity
    "ptrace process_vm_readv process_vm_writev pidfd_getfd pidfd_open pidfd_send_signal kcmp",
    "process_madvise process_mrelease move_pages migrate_pages tkill",
    # new programs and processes: a domain is one process for its whole life
    "fork vfork execve execveat uselib",
    # other namespaces, other roots, other mounts, files without a path
    "unshare setns mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount",
    "fspick mount_setattr statmount listmount open_by_handle_at name_to_handle_at mknod mknodat",
    "fanotify_init quotactl quotactl_fd acct swapon swapoff",
    # the kernel itself
    "bpf perf_event_open add_key request_key keyctl kexec_load kexec_file_load init_module",
    "finit_module delete_module userfaultfd io_uring_setup io_uring_enter io_uring_register",
    "reboot syslog sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex",
    "iopl ioperm modify_ldt vhangup personality memfd_secret vmsplice",
    # what hangs on a file beside its bytes, by path, by descriptor, by directory and name: a file
    # that a peer or the lab's owner has as well must not change its mode or owner ...
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat",
    # ... its times, its attributes; nor tell when somebody touches it
    "utime utimes futimesat utimensat setxattr lsetxattr fsetxattr setxattrat getxattr lgetxattr",
    "fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat removexattr lremovexattr",
    "fremovexattr removexattrat inotify_init inotify_init1 inotify_add_watch inotify_rm_watch",
    "fanotify_mark",
    # memory that the hypervisor does not account
    "memfd_create",
    # channels beside grants and event channels: SysV and POSIX IPC ...
    "shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl",
    "mq_open mq_unlink",
)

#: Sockets. Neither a network namespace nor Landlock (before ABI 9) keeps anybody from connect() to
#: a socket that has a path, such as xenstored's. A domain talks through those it was given.
_SOCKETS: Final = _words("socket connect bind listen accept accept4")

#: Families of sockets that a domain with a vif may make, in a network namespace of its own: IPv4,
#: IPv6, netlink and packet sockets. None of them has a path; of netlink, only links and routes.
_AF_NETLINK: Final = 16
_FAMILIES: Final = (2, 10, _AF_NETLINK, 17)
_NETLINK_ROUTE: Final = 0

#: May be aimed at oneself only (argument 0 is a process; 0 also means oneself).
_SELF_OR_ZERO: Final = _words(
    "prlimit64 sched_setparam sched_setscheduler sched_setattr sched_setaffinity"
)

#: May be aimed at oneself only (argument 0; here 0 would mean a whole process group).
_SELF: Final = _words("kill tgkill rt_sigqueueinfo rt_tgsigqueueinfo")

#: fcntl commands on descriptions that a peer may share: leases, SIGIO to others, seals.
_FCNTL_REFUSED: Final = {
    "F_SETOWN": 8,
    "F_SETSIG": 10,
    "F_SETOWN_EX": 15,
    "F_NOTIFY": 1026,
    "F_ADD_SEALS": 1033,
}
#: ioctl commands that do the same by another door, two that type into terminals, and those that
#: change a file's flags, as chattr(1) does.
_IOCTL_REFUSED: Final = {
    "TIOCSTI": 0x5412,
    "TIOCLINUX": 0x541C,
    "FIONBIO": 0x5421,
    "FIOASYNC": 0x5452,
    "FIOSETOWN": 0x8901,
    "SIOCSPGRP": 0x8902,
    "FS_IOC_SETFLAGS": 0x4008_6602,
    "FS_IOC_SETVERSION": 0x4008_7602,
    "FS_IOC_FSSETXATTR": 0x401C_5820,
}


#: What a program of the machine is refused: other namespaces and the kernel itself.  It has
#: processes, sockets and threads of its own, inside of its domain's namespaces.
_REFUSED_TO_PROGRAMS: Final = _words(
    "unshare setns mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick",
    "mount_setattr open_by_handle_at fanotify_init quotactl quotactl_fd acct swapon swapoff",
    "bpf perf_event_open add_key request_key keyctl kexec_load kexec_file_load init_module",
    "finit_module delete_module userfaultfd io_uring_setup io_uring_enter io_uring_register",
    "reboot syslog settimeofday clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt",
    "vhangup memfd_secret vmsplice kcmp uselib",
)


#: S_ISUID and S_ISGID: whoever runs such a file becomes its owner, who in a granted directory may
#: be the lab's.
_SET_ID: Final = 0o6000
#: call -> which argument is the mode.
_MODES: Final = {
    "chmod": 1,
    "fchmod": 1,
    "fchmodat": 2,
    "fchmodat2": 2,
    "creat": 1,
    "mkdir": 1,
    "mkdirat": 2,
    "mknod": 1,
    "mknodat": 2,
}
#: call -> which arguments are flags and mode; without O_CREAT or O_TMPFILE there is no mode.
_OPENS: Final = {"open": (1, 2), "openat": (2, 3)}
_CREATING: Final = (0o100, 0o20000000)


def rules(profile: Profile, pid: int, network: bool = False) -> list[Deny]:
    """The refusals for a domain process with this pid (as it sees itself).

    ``network``: it has a network stack of its own, in a namespace of its own.
    """
    eperm = errno.EPERM
    if profile == "program":
        return [*_program_rules(), *resources.for_kernels()]
    result = [Deny(name, eperm) for name in _REFUSED]
    result += _socket_rules(network)
    # glibc tries clone3 first and falls back; its arguments are out of a filter's sight.
    result.append(Deny("clone3", errno.ENOSYS))
    if profile == "guest":
        # A guest is one thread. As root nothing else would bound their number:
        # RLIMIT_NPROC does not count against root (kernel/fork.c, INIT_USER).
        result.append(Deny("clone", eperm))
        result.append(Deny("fallocate", eperm))
    else:
        result.append(Deny("clone", eperm, (Arg(0, "!=", 0, mask=_CLONE_NAMESPACES),)))
        result.append(Deny("clone", eperm, (Arg(0, "==", 0, mask=_CLONE_THREAD),)))
    result += [Deny(name, eperm, (Arg(0, "!=", pid),)) for name in _SELF]
    result += [Deny(name, eperm, (Arg(0, "!=", 0), Arg(0, "!=", pid))) for name in _SELF_OR_ZERO]
    # setpriority and ioprio_set: (PRIO_PROCESS = 0 / IOPRIO_WHO_PROCESS = 1, who, ...)
    for name, which in (("setpriority", 0), ("ioprio_set", 1)):
        result.append(Deny(name, eperm, (Arg(0, "!=", which),)))
        result.append(Deny(name, eperm, (Arg(1, "!=", 0), Arg(1, "!=", pid))))
    # A file's flags belong to all that hold it. Nobody relies on them (hvsim/wire/doorbell.py);
    # this is one wall more.
    flags = Arg(2, "!=", _O_NONBLOCK, mask=_O_NONBLOCK | _O_ASYNC)
    result.append(Deny("fcntl", eperm, (Arg(1, "==", _F_SETFL), flags)))
    result += [Deny("fcntl", eperm, (Arg(1, "==", n),)) for n in _FCNTL_REFUSED.values()]
    result += [Deny("ioctl", eperm, (Arg(1, "==", n),)) for n in _IOCTL_REFUSED.values()]
    # Who dies with the lab is not for the domain to change; nor who may look at it.
    result.append(Deny("prctl", eperm, (Arg(0, "==", syscalls.PR_SET_PDEATHSIG),)))
    result.append(Deny("prctl", eperm, (Arg(0, "==", syscalls.PR_SET_DUMPABLE),)))
    return result + resources.for_domains(locks=profile == "driver")


def _socket_rules(network: bool) -> list[Deny]:
    eperm = errno.EPERM
    if network:
        other = (Arg(0, "==", _AF_NETLINK), Arg(2, "!=", _NETLINK_ROUTE))
        return [
            Deny("socket", eperm, tuple(Arg(0, "!=", family) for family in _FAMILIES)),
            Deny("socket", eperm, other),
        ]
    result = [Deny(name, eperm) for name in _SOCKETS]
    # No sendto() with an address.
    result.append(Deny("sendto", eperm, (Arg(4, "!=", 0),)))
    result.append(Deny("sendto", eperm, (Arg(4, "!=", 0, high=True),)))
    return result


def _program_rules() -> list[Deny]:
    eperm = errno.EPERM
    result = [Deny(name, eperm) for name in _REFUSED_TO_PROGRAMS]
    result.append(Deny("clone3", errno.ENOSYS))  # glibc falls back to clone, which can be judged
    # No file whose user becomes its owner. openat2's mode is out of a filter's sight.
    result.append(Deny("openat2", errno.ENOSYS))
    for name, mode in _MODES.items():
        result.append(Deny(name, eperm, (Arg(mode, "!=", 0, mask=_SET_ID),)))
    for name, (flags, mode) in _OPENS.items():
        for bit in _CREATING:
            created = (Arg(flags, "!=", 0, mask=bit), Arg(mode, "!=", 0, mask=_SET_ID))
            result.append(Deny(name, eperm, created))
    result.append(Deny("clone", eperm, (Arg(0, "!=", 0, mask=_CLONE_NAMESPACES),)))
    # Its terminal may be that of who looks at it.
    result += [
        Deny("ioctl", eperm, (Arg(1, "==", _IOCTL_REFUSED[name]),))
        for name in ("TIOCSTI", "TIOCLINUX")
    ]
    return result


@lru_cache(maxsize=8)
def program(
    profile: Profile, pid: int, machine: str = syscalls.MACHINE, network: bool = False
) -> bytes:
    """The filter for this profile and pid, as bytes of ``struct sock_filter``.

    Raises:
        OSError: ``ENOSYS``: we have no table for this architecture.
    """
    return _assemble(rules(profile, pid, network), machine)


def _assemble(denied: Iterable[Deny], machine: str) -> bytes:
    if machine not in syscalls.NUMBERS:
        raise OSError(errno.ENOSYS, f"no system call table for {machine}")
    return assemble(
        denied,
        syscalls.NUMBERS[machine],
        syscalls.AUDIT_ARCH[machine],
        HIGHEST,
        errno.ENOSYS,
    )


def install(profile: Profile, pid: int, network: bool = False) -> None:
    """Put the filter on this process, for ever.  Needs no_new_privs.

    Raises:
        OSError: the kernel has no seccomp filters, or we do not know the architecture.
    """
    load(program(profile, pid, network=network))


def uncounted() -> bytes:
    """A further filter for programs of the machine whose memory no cgroup counts.  Raises OSError
    as :func:`program`."""
    return _assemble(resources.for_programs(), syscalls.MACHINE)


def load(code: bytes) -> None:
    """Put any assembled filter on this process.  Raises OSError."""
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = _Fprog(len(code) // 8, ctypes.addressof(buffer))
    syscalls.syscall("seccomp", SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(fprog))


class _Fprog(ctypes.Structure):
    """``struct sock_fprog`` (linux/filter.h)."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))
