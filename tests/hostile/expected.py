"""What each attempt of the rogue must come to, and how the table is judged and printed.

A sandbox has several walls, and which one answers first depends on the machine; so an attempt
may have more than one right outcome.  None of them is "ok", save where that is said.
"""

from collections.abc import Mapping
from typing import Final

_REFUSED: Final = frozenset({"EPERM"})
_HIDDEN: Final = frozenset({"ENOENT", "EACCES", "EPERM"})
_INVALID: Final = frozenset({"EINVAL"})


def _is(*outcomes: str) -> frozenset[str]:
    return frozenset(outcomes)


PROCESSES: Final[Mapping[str, frozenset[str]]] = {
    "inherited descriptors": _is("own only"),
    "process_vm_readv of a sibling": _REFUSED,
    "process_vm_writev of a sibling": _REFUSED,
    "/proc/PID/mem of a sibling": _HIDDEN,
    "/proc/PID/fd of a sibling": _HIDDEN,
    "/proc/PID/maps of the hypervisor": _HIDDEN,
    "ptrace a sibling": _REFUSED,
    "ptrace the hypervisor": _REFUSED,
    "ptrace TRACEME": _REFUSED,
    "kill a sibling": _is("EPERM", "ESRCH"),
    "kill the hypervisor": _is("EPERM", "ESRCH"),
    "tgkill a sibling": _is("EPERM", "ESRCH"),
    "kill everybody": _REFUSED,
    "kill a sibling by pidfd": _is("EPERM", "ESRCH"),
    "pidfd_getfd of a sibling's connection": _is("EPERM", "ESRCH"),
    "pidfd_getfd by number": _REFUSED,
    "kcmp with a sibling": _REFUSED,
    "prlimit of a sibling": _REFUSED,
    "unset the death signal": _REFUSED,
    "open a foreign disk image": _HIDDEN,
    "open a foreign disk image to write": _HIDDEN,
    "list the run directory": _HIDDEN,
    "read /etc/passwd": _HIDDEN,
    "write to the interpreter's packages": _is("EACCES", "EROFS"),
    "create a file": _is("EACCES", "ENOENT", "EROFS"),
    "connect to a socket in the run directory": _REFUSED,
    "the same by a datagram pair": _REFUSED,
    "the same with the hypercall socket": _REFUSED,
    "connect to an abstract socket": _REFUSED,
    "open a network socket": _REFUSED,
    "make a user namespace": _REFUSED,
    "mount a filesystem": _REFUSED,
    "fork": _REFUSED,
    "start a thread": _REFUSED,
    "spawn a program": _REFUSED,
    "exec a program": _REFUSED,
    "kernel calls of no use to a guest": _REFUSED,
    "exhaust descriptors": _is("EMFILE"),
}

#: Of files that are there for its user and not for the domain: not even that they are there.
FILES: Final[Mapping[str, frozenset[str]]] = {
    "chmod a file of its user": _REFUSED,
    "the same by another call": _REFUSED,
    "chown a file of its user": _REFUSED,
    "set its times": _REFUSED,
    "set an attribute of it": _REFUSED,
    "list its attributes": _REFUSED,
    "stat it": _is("ENOENT"),
    "lstat it": _is("ENOENT"),
    "stat a directory of the machine": _is("ENOENT"),
    "ask whether it is there": _is("ENOENT"),
    "watch it": _REFUSED,
    "rename it": _is("ENOENT", "EACCES"),
    "chmod a socket of the lab": _REFUSED,
    "chmod what it may read, by descriptor": _REFUSED,
}

MEMORY: Final[Mapping[str, frozenset[str]]] = {
    "map a read-only grant for writing": _is("EPERM", "EACCES"),
    "mprotect a read-only grant": _is("EPERM", "EACCES"),
    "pwrite to a read-only grant": _is("EPERM", "EBADF"),
    "punch a hole into a read-only grant": _is("EPERM", "EBADF"),
    "the same by madvise": _is("EPERM", "EACCES"),
    "reopen a read-only grant for writing": _HIDDEN,
    "the same, and map it": _HIDDEN,
    "truncate a shared extent": _REFUSED,
    "grow a shared extent": _REFUSED,
    "write beyond a shared extent": _REFUSED,
    "seal a shared extent": _REFUSED,
    "make a shared eventfd blocking": _REFUSED,
    "the same by ioctl": _REFUSED,
    "make a shared eventfd asynchronous": _REFUSED,
    "saturate an event counter": _is("EAGAIN"),
    "event storm": _is("ok"),  # costs the victim a look, and merges into few
}

HYPERCALLS: Final[Mapping[str, frozenset[str]]] = {
    "garbage": _INVALID,
    "half a message": _INVALID,
    "no list": _INVALID,
    "empty list": _INVALID,
    "call without command": _INVALID,
    "text for a number": _INVALID,
    "float for a domid": _INVALID,
    "truth for a port": _INVALID,
    "map for a port": _INVALID,
    "a number of 64 bits": _INVALID,
    "a negative port": _INVALID,
    "too many arguments": _INVALID,
    "deeply nested": _INVALID,
    "oversized": _is("E2BIG"),
    "unknown call": _is("ENOSYS"),
    "unknown command": _is("ENOSYS"),
    "create a domain": _REFUSED,
    "destroy a sibling": _REFUSED,
    "pause a sibling": _REFUSED,
    "look at a sibling": _REFUSED,
    "change a sibling's memory": _REFUSED,
    "kill a sibling by fault": _REFUSED,
    "spawn into dom0": _REFUSED,
    "peek at a sibling's page": _REFUSED,
    "shut a sibling down": _REFUSED,
    "list domains": _REFUSED,
    "read the console ring": _REFUSED,
    "read the ledger": _REFUSED,
    "break something": _REFUSED,
    "mend something": _REFUSED,
    "see what is broken": _REFUSED,
    "a firing of no rule": _is("ENOENT"),
    "ports for no rule": _is("ENOENT"),
    "size of a sibling": _REFUSED,
    "alloc a port inside a sibling": _REFUSED,
    "bind a port meant for another": _INVALID,
    "bind a port of nobody": _is("ESRCH"),
    "status of a sibling's port": _REFUSED,
    "send on a port not open": _INVALID,
    "bind dom0's VIRQ": _is("EPERM", "EINVAL"),
    "grant table of a sibling": _INVALID,
    "a frame out of range": _INVALID,
    "extent of no pages": _INVALID,
    "more memory than there is": _is("ENOMEM", "EINVAL"),
    "start_info with a command of others": _INVALID,
    "map a reference granted to another": _is("GNTST_general_error", "GNTST_permission_denied"),
    "map a reference not in use": _is("GNTST_general_error", "GNTST_bad_gntref"),
    "map a reference out of range": _is("GNTST_bad_gntref"),
    "map a read-only grant as writable": _is("GNTST_general_error", "GNTST_permission_denied"),
    "map from a domain that is not": _is("GNTST_bad_domain"),
    "map 600 at once": _is("EINVAL", "E2BIG"),
    "unmap a handle of others": _is("GNTST_bad_handle"),
    "copy a sibling's frame": _is("GNTST_permission_denied"),
    "copy what was granted to another": _is("GNTST_general_error", "GNTST_permission_denied"),
    "copy into a read-only grant": _is("GNTST_general_error", "GNTST_permission_denied"),
    "copy beyond the page": _is("GNTST_bad_copy_arg"),
    "control: an honest grant": _is("ok"),
    "grant a frame of others": _is("GNTST_bad_page", "GNTST_general_error"),
    "grant plain memory": _is("GNTST_bad_page"),
    "grant an extent to two": _is("GNTST_permission_denied", "GNTST_bad_page"),
    "descriptor flood": _REFUSED,
    "hypercall flood without reading": _is("full, then ok"),
}

#: What a bare process behind the walls can try, without a hypervisor.
ALONE: Final = {**PROCESSES, **FILES}
EVERYTHING: Final = {**ALONE, **MEMORY, **HYPERCALLS}

#: With the walls taken away these succeed, on every machine: the test can see.
SUCCEED_WITHOUT_WALLS: Final = frozenset(
    {
        "process_vm_readv of a sibling",
        "process_vm_writev of a sibling",
        "/proc/PID/mem of a sibling",
        "/proc/PID/fd of a sibling",
        "/proc/PID/maps of the hypervisor",
        "ptrace a sibling",
        "kill a sibling",
        "kill the hypervisor",
        "tgkill a sibling",
        "kill a sibling by pidfd",
        "pidfd_getfd of a sibling's connection",
        "prlimit of a sibling",
        "unset the death signal",
        "open a foreign disk image",
        "open a foreign disk image to write",
        "list the run directory",
        "read /etc/passwd",
        "create a file",
        "connect to a socket in the run directory",
        "the same by a datagram pair",
        "connect to an abstract socket",
        "open a network socket",
        "fork",
        "start a thread",
        "spawn a program",
        *(name for name in FILES if name != "chmod what it may read, by descriptor"),
    }
)


#: With these walls away, what they held succeeds; the others stand, Landlock among them.
SUCCEED_WITHOUT: Final[Mapping[tuple[str, ...], frozenset[str]]] = {
    ("root",): frozenset({"stat a directory of the machine"}),
    ("root", "own-uid"): frozenset({"stat it", "lstat it", "ask whether it is there"}),
    ("seccomp",): frozenset({"open a network socket"}),
    ("root", "own-uid", "seccomp"): frozenset(
        {
            "chmod a file of its user",
            "the same by another call",
            "chown a file of its user",
            "set its times",
            "set an attribute of it",
            "list its attributes",
            "watch it",
            "chmod a socket of the lab",
        }
    ),
}


def breaches(outcomes: Mapping[str, str], expected: Mapping[str, frozenset[str]]) -> list[str]:
    """Every attempt that was not made, or did not end as it must."""
    return [
        f"{name}: {outcomes.get(name, 'not made')}, expected {' or '.join(sorted(wanted))}"
        for name, wanted in expected.items()
        if outcomes.get(name) not in wanted
    ]


def table(outcomes: Mapping[str, str], expected: Mapping[str, frozenset[str]]) -> str:
    """The attempts with their outcomes, for people."""
    width = max(map(len, expected))
    return "\n".join(
        f"{name:<{width}}  {outcomes.get(name, 'not made'):<28}"
        f"{'as it must be' if outcomes.get(name) in wanted else 'WRONG'}"
        for name, wanted in expected.items()
    )
