"""The parts of the sandbox that decide without a system call."""

import errno
import resource
import struct

import pytest

from hvsim.spawn.sandbox import landlock, limits
from hvsim.spawn.sandbox.namespaces import FLAGS, Cloner
from hvsim.spawn.spec import parse
from hvsim.wire.typed import BadMessage

GOOD = {"name": "du1", "domid": 1, "process": "main", "program": "m:main", "profile": "guest"}


class Machine:
    """A clone that refuses some namespaces, as a machine would."""

    def __init__(self, refused: dict[str, int]) -> None:
        self.refused = {FLAGS[name]: code for name, code in refused.items()}
        self.calls: list[int] = []
        self.reaped: list[int] = []

    def clone(self, flags: int) -> int:
        self.calls.append(flags)
        for flag, code in self.refused.items():
            if flags & flag:
                raise OSError(code, "refused")
        return 100 + len(self.calls)

    def cloner(self) -> Cloner:
        return Cloner(self.clone, _never, lambda pid, _: self.reaped.append(pid))


def _never(_status: int) -> None:
    pytest.fail("the parent acted as the child")


def total(*names: str) -> int:
    return sum(FLAGS[name] for name in names)


def test_all_namespaces_at_once_where_they_are_allowed() -> None:
    machine = Machine({})
    assert machine.cloner().clone(FLAGS).missing == ()
    assert machine.calls == [sum(FLAGS.values())]


def test_step_by_step_where_one_is_refused() -> None:
    machine = Machine({"net-ns": errno.EPERM})
    cloned = machine.cloner().clone(FLAGS)
    assert cloned.missing == ("net-ns: Operation not permitted",)
    assert machine.calls[-1] == total("user-ns", "pid-ns", "ipc-ns", "mount-ns")
    assert cloned.pid == 100 + len(machine.calls)
    assert len(machine.reaped) == 4  # every probe that worked made a child


def test_a_refusal_for_ever_is_asked_once() -> None:
    machine = Machine({"user-ns": errno.EPERM})
    cloner = machine.cloner()
    cloner.clone(FLAGS)
    machine.calls.clear()
    assert cloner.clone(FLAGS).missing == ("user-ns: Operation not permitted",)
    assert len(machine.calls) == 1


def test_a_used_up_quota_is_asked_again() -> None:
    machine = Machine({"pid-ns": errno.ENOSPC})
    cloner = machine.cloner()
    (missing,) = cloner.clone(FLAGS).missing
    assert missing.startswith(
        "pid-ns: their limit is reached (/proc/sys/user: max_pid_namespaces = "
    )
    machine.refused.clear()
    assert cloner.clone(FLAGS).missing == ()


def test_a_failure_of_clone_itself_is_not_a_refusal() -> None:
    machine = Machine({"user-ns": errno.ENOMEM})
    with pytest.raises(OSError, match="refused"):
        machine.cloner().clone(FLAGS)


@pytest.mark.parametrize(("abi", "size"), [(1, 8), (2, 8), (3, 8), (4, 16), (5, 16), (6, 24)])
def test_landlock_attributes_are_cut_to_the_abi(abi: int, size: int) -> None:
    handled = landlock.Handled.of(abi)
    packed = handled.pack(abi)
    assert len(packed) == size
    assert struct.unpack("=Q", packed[:8])[0] == handled.fs
    assert bool(handled.fs & landlock.TRUNCATE) == (abi >= 3)
    assert bool(handled.fs & landlock.IOCTL_DEV) == (abi >= 5)
    assert bool(handled.net) == (abi >= 4)
    assert bool(handled.scoped) == (abi >= 6)


def test_a_newer_landlock_is_asked_for_what_we_name() -> None:
    assert landlock.Handled.of(99) == landlock.Handled.of(6)


def test_no_landlock_is_reported() -> None:
    assert landlock.restrict([], [], 0) == ["landlock: not in this kernel"]


def test_limits_of_guests_and_drivers() -> None:
    at_birth = limits.Born(100 << 20, 20 << 20)
    guest = limits.limits(limits.Budget("guest", pages=4096), at_birth)
    driver = limits.limits(limits.Budget("driver", pages=4096, writes_files=True), at_birth)
    assert guest[resource.RLIMIT_NOFILE] == 1024
    assert guest[resource.RLIMIT_CORE] == driver[resource.RLIMIT_CORE] == 0
    assert resource.RLIMIT_FSIZE in guest
    writer = limits.Budget("guest", writes_files=True)
    assert resource.RLIMIT_FSIZE not in limits.limits(writer, at_birth)
    ram = 4096 * 4096
    assert guest[resource.RLIMIT_AS] == at_birth.size + 2 * ram + limits.GUEST_ROOM
    assert guest[resource.RLIMIT_DATA] == at_birth.data + ram + limits.GUEST_ROOM
    assert driver[resource.RLIMIT_NOFILE] > guest[resource.RLIMIT_NOFILE]


def test_limits_of_programs_follow_who_counts_them() -> None:
    """A cgroup counts better than each one's address space; a user's own id, than a low number of
    descriptors; and processes are counted only where the user namespace is the domain's."""
    at_birth = limits.Born()
    alone = limits.limits(limits.Budget("program"), at_birth)
    assert alone[resource.RLIMIT_AS] == limits.PROGRAM_ROOM
    assert alone[resource.RLIMIT_NOFILE] == limits.SHARED_FILES
    assert resource.RLIMIT_NPROC not in alone
    own = limits.Budget("program", own_user=True, own_uid=True, counted=True)
    counted = limits.limits(own, at_birth)
    assert resource.RLIMIT_AS not in counted
    assert counted[resource.RLIMIT_NOFILE] == 4096
    assert counted[resource.RLIMIT_NPROC] == limits.PROGRAMS


def test_a_good_spec() -> None:
    raw = {**GOOD, "path": ["/p"], "files": [["/f", "rw"]], "stdout": None, "args": {"a": 1}}
    spec = parse(raw)
    assert (spec.name, spec.profile, spec.path) == ("du1", "guest", ("/p",))
    assert spec.files == (("/f", "rw"),)
    assert spec.args == {"a": 1}
    assert not spec.trusted
    assert parse({**GOOD, "profile": "dom0", "process": "kernel"}).title == "kernel"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": None}, "name"),
        ({"program": 3}, "program"),
        ({"profile": "root"}, "profile"),
        ({"path": [1]}, "path"),
        ({"path": "/p"}, "path"),
        ({"files": [["/f", "x"]]}, "files"),
        ({"files": ["/f"]}, "files"),
        ({"stdout": 5}, "stdout"),
        ({"without": ["doors"]}, "without"),
    ],
)
def test_a_bad_spec_says_what_is_wrong(change: dict[str, object], text: str) -> None:
    with pytest.raises(BadMessage, match=text):
        parse({**GOOD, **change})


def test_a_spec_that_is_no_map() -> None:
    with pytest.raises(BadMessage, match="object"):
        parse([1, 2])
