"""What each profile is refused, written down once more: a call that leaves the filter is missed.

The lists here are not those of the source.  Every rule of every profile was taken away by itself:
each made a test of this file red.
"""

import errno
from typing import Final

import pytest

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import seccomp
from tests.domain.seccomp_judge import ALLOW, PID, refuse, verdict


def _words(text: str) -> set[str]:
    return set(text.split())


REFUSED: Final = _words(
    """
    acct add_key adjtimex bpf chmod chown chroot clock_adjtime clock_settime delete_module execve
    execveat fanotify_init fanotify_mark fchmod fchmodat fchmodat2 fchown fchownat fgetxattr
    finit_module flistxattr fork fremovexattr fsconfig fsetxattr fsmount fsopen fspick futimesat
    getxattr getxattrat init_module inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load
    keyctl lchown lgetxattr listmount listxattr listxattrat llistxattr lremovexattr lsetxattr
    memfd_create memfd_secret migrate_pages mknod mknodat modify_ldt mount mount_setattr move_mount
    move_pages mq_open mq_unlink msgctl msgget msgrcv msgsnd name_to_handle_at open_by_handle_at
    open_tree perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pivot_root
    process_madvise process_mrelease process_vm_readv process_vm_writev ptrace quotactl quotactl_fd
    reboot removexattr removexattrat request_key semctl semget semop semtimedop setdomainname
    sethostname setns settimeofday setxattr setxattrat shmat shmctl shmdt shmget statmount swapoff
    swapon syslog tkill umount2 unshare uselib userfaultfd utime utimensat utimes vfork vhangup
    vmsplice
    """
)
SOCKETS: Final = {"socket", "connect", "bind", "listen", "accept", "accept4"}
ONE_THREAD: Final = {"clone", "fallocate"}
UNCOUNTED: Final = _words(
    "dup dup2 dup3 epoll_create epoll_create1 io_setup pipe pipe2 sendmmsg sendmsg socketpair"
)
"""What takes memory, or a share of what a user has, that nothing counts."""
OF_A_PROGRAM: Final = _words(
    """
    acct add_key adjtimex bpf clock_adjtime clock_settime delete_module fanotify_init finit_module
    fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup
    ioperm iopl kcmp kexec_file_load kexec_load keyctl memfd_secret modify_ldt mount mount_setattr
    move_mount open_by_handle_at open_tree perf_event_open pivot_root quotactl quotactl_fd reboot
    request_key setns settimeofday swapoff swapon syslog umount2 unshare uselib userfaultfd vhangup
    vmsplice
    """
)

#: (profile, network) -> what is refused whatever the arguments, and what does not exist.
WHOLE: Final[dict[tuple[seccomp.Profile, bool], tuple[set[str], set[str]]]] = {
    ("guest", False): (REFUSED | SOCKETS | ONE_THREAD | UNCOUNTED, {"clone3"}),
    ("guest", True): (REFUSED | ONE_THREAD | UNCOUNTED, {"clone3"}),
    ("driver", False): (REFUSED | SOCKETS | UNCOUNTED, {"clone3"}),
    ("driver", True): (REFUSED | UNCOUNTED, {"clone3"}),
    ("program", False): (OF_A_PROGRAM, {"clone3", "io_setup", "openat2"}),
}


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("profile", "network"), WHOLE)
def test_refused_whatever_the_arguments(
    machine: str, profile: seccomp.Profile, network: bool
) -> None:
    """Neither more nor less, with all bits of the arguments clear and with all set."""
    refused, unknown = WHOLE[profile, network]
    numbers = syscalls.NUMBERS[machine]
    expected = dict.fromkeys(refused, refuse(errno.EPERM))
    expected |= dict.fromkeys(unknown, refuse(errno.ENOSYS))
    expected = {name: answer for name, answer in expected.items() if name in numbers}
    clear = {name: verdict(machine, profile, name, network=network) for name in expected}
    ones = [2**64 - 1] * 6
    full = {name: verdict(machine, profile, name, *ones, network=network) for name in expected}
    assert clear == full == expected
    rules = seccomp.rules(profile, PID, network)
    assert {rule.name for rule in rules if not rule.when} == refused | unknown


def test_calls_that_one_machine_has_not() -> None:
    """So that a name which is spelled wrongly is not left out above for want of a number."""
    named = set[str]().union(*(refused | unknown for refused, unknown in WHOLE.values()))
    assert named <= syscalls.NUMBERS["x86_64"].keys()
    assert named - syscalls.NUMBERS["aarch64"].keys() == _words(
        """
        chmod chown dup2 epoll_create fork futimesat inotify_init ioperm iopl lchown mknod
        modify_ldt pipe uselib utime utimes vfork
        """
    )


SETFL, NONBLOCK = 4, 0o4000
OTHER = 77
SET_USER, SET_GROUP = 0o4755, 0o2755
CREAT, TMPFILE = 0o100, 0o20000000
NAMESPACES = (0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x20000)

#: Of everybody: pages of a pool of the machine, leases, rings of packet sockets.
OF_ALL: Final[list[tuple[str, tuple[int, ...]]]] = [
    ("mmap", (0, 4096, 3, 0x40022)),
    ("fcntl", (9, 1024)),
    *[("setsockopt", (9, 263, ring)) for ring in (5, 13)],
]
#: Numbers of a file (dup), and locks on ranges of one, of which nothing counts any.
OF_DOMAINS: Final[list[tuple[str, tuple[int, ...]]]] = [
    *OF_ALL,
    *[("fcntl", (9, command)) for command in (0, 1030, 6, 7)],
    *[(name, (OTHER, 1)) for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")],
    *[(name, (0, 1)) for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")],
    ("prlimit64", (OTHER,)),
    ("sched_setparam", (OTHER,)),
    ("sched_setscheduler", (OTHER,)),
    ("sched_setattr", (OTHER,)),
    ("sched_setaffinity", (OTHER,)),
    ("setpriority", (1, 0)),
    ("setpriority", (0, OTHER)),
    ("ioprio_set", (2, 0)),
    ("ioprio_set", (1, OTHER)),
    ("fcntl", (9, SETFL, 0)),
    ("fcntl", (9, SETFL, NONBLOCK | 0o20000)),
    *[("fcntl", (9, command)) for command in (8, 10, 15, 1024, 1026, 1033)],
    *[("ioctl", (9, command)) for command in (0x5412, 0x541C, 0x5421, 0x5452, 0x8901, 0x8902)],
    *[("ioctl", (9, command)) for command in (0x40086602, 0x40087602, 0x401C5820)],
    ("prctl", (1, 0)),
    ("prctl", (4, 1)),
]
#: A driver has them on its images.
OFD_LOCKS: Final[list[tuple[str, tuple[int, ...]]]] = [("fcntl", (9, n)) for n in (37, 38)]
OF_STREAMS: Final[list[tuple[str, tuple[int, ...]]]] = [
    ("sendto", (3, 0, 0, 0, 16, 0)),
    ("sendto", (3, 0, 0, 0, 1 << 32, 0)),
]
OF_A_DRIVER: Final[list[tuple[str, tuple[int, ...]]]] = [
    ("clone", (17,)),
    *[("clone", (0x10000 | flag,)) for flag in NAMESPACES],
]
OF_A_NETWORK: Final[list[tuple[str, tuple[int, ...]]]] = [
    *[("socket", (family, 1, 0)) for family in (0, 1, 3, 11, 16 | 1 << 8, 29, 31, 38, 40, 44)],
    *[("socket", (16, 3, protocol)) for protocol in (1, 2, 9, 12, 15, 16)],
]
OF_A_MACHINE: Final[list[tuple[str, tuple[int, ...]]]] = [
    *OF_ALL,
    *[(name, (0, mode)) for name in ("chmod", "fchmod", "creat", "mkdir", "mknod")
      for mode in (SET_USER, SET_GROUP)],
    *[(name, (0, 0, mode)) for name in ("fchmodat", "fchmodat2", "mkdirat", "mknodat")
      for mode in (SET_USER, SET_GROUP)],
    *[("open", (0, flag, SET_USER)) for flag in (CREAT, TMPFILE)],
    *[("openat", (0, 0, flag, SET_GROUP)) for flag in (CREAT, TMPFILE)],
    *[("clone", (17 | flag,)) for flag in NAMESPACES],
    ("ioctl", (9, 0x5412)),
    ("ioctl", (9, 0x541C)),
]  # fmt: skip

#: (profile, network) -> what is refused for its arguments.
ODD: Final[dict[tuple[seccomp.Profile, bool], list[tuple[str, tuple[int, ...]]]]] = {
    ("guest", False): [*OF_DOMAINS, *OFD_LOCKS, *OF_STREAMS],
    ("guest", True): [*OF_DOMAINS, *OFD_LOCKS, *OF_A_NETWORK],
    ("driver", False): [*OF_DOMAINS, *OF_STREAMS, *OF_A_DRIVER],
    ("driver", True): [*OF_DOMAINS, *OF_A_NETWORK, *OF_A_DRIVER],
    ("program", False): OF_A_MACHINE,
}


@pytest.mark.parametrize(("profile", "network"), ODD)
def test_refused_for_the_arguments(machine: str, profile: seccomp.Profile, network: bool) -> None:
    numbers = syscalls.NUMBERS[machine]
    calls = [call for call in ODD[profile, network] if call[0] in numbers]
    assert len(calls) > 20
    allowed = [
        (name, args)
        for name, args in calls
        if verdict(machine, profile, name, *args, network=network) != refuse(errno.EPERM)
    ]
    assert allowed == []


@pytest.mark.parametrize(
    ("profile", "network", "name", "args"),
    [
        *[("guest", True, "socket", (family, 1, 0)) for family in (2, 10, 16, 17)],
        ("guest", True, "sendto", (3, 0, 0, 0, 16, 0)),
        ("driver", False, "ioprio_set", (1, 0)),
        ("driver", False, "fcntl", (9, 37)),
        ("program", False, "fcntl", (9, 1030)),
        ("program", False, "open", (0, 0, SET_USER)),
        ("program", False, "openat", (0, 0, CREAT, 0o755)),
        ("program", False, "fchmodat", (0, 0, 0o1777)),
        ("program", False, "clone", (17,)),
        ("program", False, "socket", (1, 1, 0)),
        ("program", False, "execve", (0, 0, 0)),
    ],
)
def test_allowed(profile: seccomp.Profile, network: bool, name: str, args: tuple[int, ...]) -> None:
    """The other side of those rules: what an honest one needs."""
    assert verdict("x86_64", profile, name, *args, network=network) == ALLOW
