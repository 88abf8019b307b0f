"""The seccomp filter: run by an interpreter of classic BPF, call by call."""

import errno
import re
import struct

import pytest

from hvsim.linux import syscalls
from hvsim.spawn.sandbox import bpf, resources, seccomp
from hvsim.spawn.sandbox.bpf import Arg, Deny
from tests.domain.seccomp_judge import ALLOW, PID, refuse, run, verdict
from tests.support import optional


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


NONBLOCK, ASYNC, APPEND = 0o4000, 0o20000, 0o2000
THREAD, NEWUSER, NEWNET = 0x10000, 0x10000000, 0x40000000
SETFL = 4

CONDITIONAL = [
    # profile, call, arguments, allowed?
    ("guest", "fcntl", (9, SETFL, NONBLOCK), True),
    ("guest", "fcntl", (9, SETFL, NONBLOCK | APPEND), True),
    ("guest", "fcntl", (9, SETFL, 0), False),
    ("guest", "fcntl", (9, SETFL, APPEND), False),
    ("guest", "fcntl", (9, SETFL, NONBLOCK | ASYNC), False),
    ("guest", "fcntl", (9, SETFL | 1 << 32, 0), False),  # the kernel sees 32 bits only
    ("guest", "fcntl", (9, 3, 0), True),  # F_GETFL
    ("guest", "fcntl", (9, 1030, 0), False),  # F_DUPFD_CLOEXEC
    ("program", "fcntl", (9, 1030, 0), True),
    ("guest", "fcntl", (9, 37, 0), False),  # F_OFD_SETLK
    ("driver", "fcntl", (9, 37, 0), True),
    ("driver", "fcntl", (9, 6, 0), False),  # F_SETLK
    ("program", "fcntl", (9, 1024, 0), False),  # F_SETLEASE
    ("guest", "mmap", (0, 4096, 3, 0x22, -1, 0), True),  # private
    ("guest", "mmap", (0, 4096, 3, 0x01, 5, 0), True),  # shared, of a file
    ("guest", "mmap", (0, 4096, 3, 0x21, -1, 0), True),  # shared: the address space counts it
    ("program", "mmap", (0, 4096, 3, 0x40022, -1, 0), False),  # MAP_HUGETLB
    ("guest", "setsockopt", (5, 263, 5, 0, 0), False),  # PACKET_RX_RING
    ("program", "setsockopt", (5, 263, 13, 0, 0), False),  # PACKET_TX_RING
    ("program", "setsockopt", (5, 1, 7, 0, 0), True),  # SO_SNDBUF
    ("guest", "fcntl", (9, 1033, 1), False),  # F_ADD_SEALS
    ("guest", "fcntl", (9, 8, 1), False),  # F_SETOWN
    ("guest", "ioctl", (9, 0x5421, 0), False),  # FIONBIO
    ("guest", "ioctl", (9, 0x5421 | 1 << 32, 0), False),
    ("guest", "ioctl", (9, 0x5452, 0), False),  # FIOASYNC
    ("driver", "ioctl", (9, 0x80081272, 0), True),  # BLKGETSIZE64
    ("guest", "kill", (PID, 0), True),
    ("guest", "kill", (2, 0), False),
    ("guest", "kill", (0, 9), False),
    ("guest", "kill", (-1, 9), False),
    ("guest", "tgkill", (PID, PID, 6), True),
    ("guest", "tgkill", (77, 77, 6), False),
    ("guest", "prlimit64", (0, 7, 0, 0), True),
    ("guest", "prlimit64", (PID, 7, 0, 0), True),
    ("guest", "prlimit64", (77, 7, 0, 0), False),
    ("guest", "setpriority", (0, 0, 5), True),
    ("guest", "setpriority", (0, 77, 5), False),
    ("guest", "setpriority", (1, 0, 5), False),  # a process group
    ("guest", "clone", (THREAD,), False),
    ("guest", "clone", (17,), False),
    ("driver", "clone", (THREAD,), True),
    ("driver", "clone", (17,), False),
    ("driver", "clone", (THREAD | NEWUSER,), False),
    ("driver", "clone", (THREAD | NEWNET,), False),
    ("guest", "fallocate", (9, 3, 0, 4096), False),
    ("driver", "fallocate", (9, 3, 0, 4096), True),
    ("guest", "sendto", (3, 0x1000, 5, 0, 0, 0), True),
    ("guest", "sendto", (3, 0x1000, 5, 0, 0x7FFF0000, 16), False),
    ("guest", "sendto", (3, 0x1000, 5, 0, 0x5500_0000_0000, 16), False),
    ("guest", "prctl", (1, 0), False),  # PR_SET_PDEATHSIG
    ("guest", "prctl", (4, 1), False),  # PR_SET_DUMPABLE
    ("guest", "prctl", (15, 0x1000), True),  # PR_SET_NAME
]


@pytest.mark.parametrize(("profile", "name", "args", "allowed"), CONDITIONAL)
def test_refused_by_arguments(
    machine: str, profile: seccomp.Profile, name: str, args: tuple[int, ...], allowed: bool
) -> None:
    expected = ALLOW if allowed else refuse(errno.EPERM)
    assert verdict(machine, profile, name, *args) == expected


def test_every_other_known_call_is_allowed(machine: str) -> None:
    program = seccomp.program("guest", PID, machine)
    arch = syscalls.AUDIT_ARCH[machine]
    judged = {
        syscalls.NUMBERS[machine][rule.name]
        for rule in seccomp.rules("guest", PID)
        if rule.name in syscalls.NUMBERS[machine]
    }
    others = [nr for nr in range(seccomp.HIGHEST + 1) if nr not in judged]
    assert len(others) > 300
    assert {run(program, nr, arch=arch) for nr in others} == {ALLOW}


def test_calls_that_nobody_judged_do_not_exist(machine: str) -> None:
    program = seccomp.program("guest", PID, machine)
    arch = syscalls.AUDIT_ARCH[machine]
    x32 = 0x40000000
    for nr in (seccomp.HIGHEST + 1, 999, x32 | 101, 0x7FFFFFFF, -1):
        assert run(program, nr, arch=arch) == refuse(errno.ENOSYS)


def test_calls_of_another_architecture_kill(machine: str) -> None:
    program = seccomp.program("guest", PID, machine)
    i386 = 0x40000003
    assert run(program, 4, arch=i386) == bpf.RET_KILL_PROCESS


def test_the_program_fits_and_jumps_inside(machine: str) -> None:
    for profile in ("guest", "driver"):
        program = seccomp.program(profile, PID, machine)
        code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
        assert len(code) <= 4096  # BPF_MAXINSNS
        for at, (op, if_true, if_false, _) in enumerate(code):
            if op in (bpf.JMP_JEQ_K, bpf.JMP_JGT_K):
                assert at + 1 + max(if_true, if_false) < len(code)


def test_conditions_of_one_rule_must_all_hold_and_rules_are_alternatives() -> None:
    rules = [
        Deny("f", 1, (Arg(0, "==", 5), Arg(1, "!=", 6))),
        Deny("f", 2, (Arg(2, "==", 0x10, mask=0x30),)),
        Deny("f", 3, (Arg(3, "==", 7, high=True),)),
    ]
    program = bpf.assemble(rules, {"f": 10}, 1, 100, errno.ENOSYS)
    assert run(program, 10, (5, 0), arch=1) == refuse(1)
    assert run(program, 10, (5, 6), arch=1) == ALLOW
    assert run(program, 10, (4, 0), arch=1) == ALLOW
    assert run(program, 10, (5, 6, 0x1F), arch=1) == refuse(2)
    assert run(program, 10, (5, 6, 0x30), arch=1) == ALLOW
    assert run(program, 10, (5, 6, 0, 7 << 32), arch=1) == refuse(3)
    assert run(program, 10, (5, 6, 0, 7), arch=1) == ALLOW
    assert run(program, 9, (5, 0), arch=1) == ALLOW


def test_a_jump_that_is_too_long_is_refused() -> None:
    rules = [Deny("f", 1, (Arg(0, "==", n),)) for n in range(100)]
    with pytest.raises(ValueError, match="8 bits"):
        bpf.assemble(rules, {"f": 10}, 1, 100, 38)


def test_an_unknown_machine_has_no_filter() -> None:
    with pytest.raises(OSError, match="s390x"):
        seccomp.program("guest", 1, "s390x")


HEADERS = {"x86_64": "asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}


@pytest.mark.interop
def test_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    header = optional.header(HEADERS[machine])
    found = {
        name: int(nr)
        for name, nr in re.findall(r"#define\s+__NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    }
    assert len(found) > 250
    ours = syscalls.NUMBERS[machine]
    # Installed headers may be older than the newest calls that we name.
    known = {name: nr for name, nr in ours.items() if name in found or nr <= max(found.values())}
    assert len(known) > 90
    assert known == {name: found.get(name) for name in known}


@pytest.mark.parametrize(
    ("name", "args", "allowed"),
    [
        ("memfd_create", (0, 0), False),
        ("shmget", (1, resources.SEGMENT_MAX, 0), True),
        ("shmget", (1, resources.SEGMENT_MAX + 1, 0), False),
        ("shmget", (1, 1 << 40, 0), False),
        ("semget", (1, resources.SEMAPHORES_MAX, 0), True),
        ("semget", (1, resources.SEMAPHORES_MAX + 1, 0), False),
        ("mmap", (0, 4096, 3, 0x21, -1, 0), True),
    ],
)
def test_programs_whose_memory_nobody_counts(
    name: str, args: tuple[int, ...], allowed: bool
) -> None:
    """A further filter, over that of their kernel."""
    there = syscalls.NUMBERS["x86_64"]
    rules = resources.for_programs()
    code = bpf.assemble(rules, there, syscalls.AUDIT_ARCH["x86_64"], 466, errno.ENOSYS)
    assert (run(code, there[name], args) == bpf.RET_ALLOW) is allowed
