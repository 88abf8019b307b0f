"""Pause and stall: when the call is answered, nothing of the domain runs any more."""

import mmap
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.abi.domctl import XEN_DOMCTL_pausedomain, XEN_DOMCTL_unpausedomain
from hvsim.abi.errno import EAGAIN, EINVAL
from hvsim.abi.hypercall import DOMID_SELF, HVSIM_DOMCTL_fault
from hvsim.hypervisor.late import DEFERRED
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.pauses import SIGCONT, SIGSTOP, STOP_TIMEOUT
from hvsim.wire.spawn import Spawn
from tests.hypervisor.client import PATIENCE, Dom, Lab
from tests.hypervisor.fakes import FakeHost
from tests.hypervisor.stopped import is_stopped

CYCLES = 100


class Counter:
    """What a process that never rests counts up, as long as it runs."""

    def __init__(self, path: Path) -> None:
        with path.open("w+b") as file:
            file.truncate(4096)
            self._page = mmap.mmap(file.fileno(), 4096)
        self._words = memoryview(self._page).cast("Q")

    def read(self) -> int:
        return self._words[0]

    def moves(self) -> bool:
        """Whether it goes on counting (bounded)."""
        before = self.read()
        for _ in range(int(PATIENCE * 1000)):
            if self.read() != before:
                return True
            select.select([], [], [], 0.001)
        return False

    def close(self) -> None:
        self._words.release()
        self._page.close()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    counter = Counter(tmp_path / "counter")
    yield counter
    counter.close()


@pytest.fixture
def busy(lab: Lab, counter: Counter, tmp_path: Path) -> Iterator[Dom]:
    """A domain whose process counts without rest."""
    guest = lab.guest(program=f"count {tmp_path / 'counter'}")
    assert counter.moves()
    yield guest
    lab.destroy(guest.domid)


def test_a_paused_domain_does_not_run(lab: Lab, busy: Dom, counter: Counter) -> None:
    """Red when pausedomain answers at once: the process counts on for a moment."""
    for _ in range(CYCLES):
        lab.dom0.domctl(XEN_DOMCTL_pausedomain, busy.domid)
        at_answer = counter.read()
        assert is_stopped(busy.pid)
        lab.info(busy.domid)
        assert counter.read() == at_answer
        lab.dom0.domctl(XEN_DOMCTL_unpausedomain, busy.domid)
    assert counter.moves()


def test_a_stalled_process_does_not_run(lab: Lab, busy: Dom, counter: Counter) -> None:
    for _ in range(CYCLES):
        assert lab.dom0.domctl(HVSIM_DOMCTL_fault, busy.domid, "", "stall") == busy.pid
        at_answer = counter.read()
        assert is_stopped(busy.pid)
        lab.info(busy.domid)
        assert counter.read() == at_answer
        lab.dom0.domctl(HVSIM_DOMCTL_fault, busy.domid, "", "resume")
    assert counter.moves()


def test_a_domain_paused_while_it_is_being_made(lab: Lab, tmp_path: Path) -> None:
    """The answer waits for the process that is on its way, and for its stop."""
    (tmp_path / "counter").write_bytes(bytes(4096))
    domid = lab.create(program=f"count {tmp_path / 'counter'}")
    lab.dom0.send(36, XEN_DOMCTL_unpausedomain, domid)
    lab.dom0.send(36, XEN_DOMCTL_pausedomain, domid)
    assert [lab.dom0.receive()[0] for _ in range(2)] == [[0], [0]]
    assert is_stopped(lab.adopt().pid)
    lab.destroy(domid)


def test_the_machine_goes_on_while_a_pause_is_awaited(lab: Lab, busy: Dom) -> None:
    """Others are served meanwhile, and whoever asked is answered once."""
    other = lab.guest()
    lab.dom0.send(36, XEN_DOMCTL_pausedomain, busy.domid)
    other.domctl(XEN_DOMCTL_pausedomain, DOMID_SELF, expect=1)
    assert lab.dom0.receive()[0] == [0]
    assert lab.info(busy.domid)["flags"]["paused"]
    lab.dom0.domctl(XEN_DOMCTL_pausedomain, 0, expect=EINVAL)
    lab.destroy(other.domid)


def test_what_counts_as_stopped() -> None:
    """Not this very process; a child that is stopped, and one that is gone."""
    assert not is_stopped(os.getpid())
    pid = os.fork()
    if pid == 0:
        while True:
            os.kill(os.getpid(), SIGSTOP)
    assert os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT) is not None
    assert is_stopped(pid)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert is_stopped(pid), "what is gone does not run"


# -- the bound, with a clock that is set --------------------------------------------------------


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


def _world(host: FakeHost) -> tuple[Machine, int, int]:
    """A machine with dom0 and one running domain: (machine, dom0's token, the domain's)."""
    machine = Machine(host, Ledger(host.now), 256)
    dom0 = machine.create_dom0(32, 1, "kernel")
    root = machine.births.spawn(dom0, Spawn(process="kernel"), True)
    domain = machine.create_domain(bytes(16), 1, 24, 0)
    machine.births.load(domain, Spawn(process="main"))
    machine.births.unpause(domain)
    for token in (root.token, root.token + 1):
        machine.births.process_spawned(token, 1000 + token, [])
    return machine, root.token, root.token + 1


def test_the_answer_waits_for_the_process(host: FakeHost) -> None:
    machine, root, token = _world(host)
    host.moving = {token}
    domain = machine.processes[token].domain
    assert machine.pauses.pause(domain, machine.processes[root]) is DEFERRED
    host.advance(STOP_TIMEOUT // 2)
    assert host.replies == []
    host.moving.clear()
    host.advance(STOP_TIMEOUT // 4)
    assert host.replies == [((root, 0), [0])]
    assert not host.timers
    assert machine.pauses.pause(domain, machine.processes[root]) is None, "it stands already"


def test_a_process_that_does_not_stop_is_not_waited_for_for_ever(host: FakeHost) -> None:
    """-EAGAIN, and the pause is taken back: whoever asks again does not count twice."""
    machine, root, token = _world(host)
    host.moving = {token}
    domain = machine.processes[token].domain
    machine.pauses.pause(domain, machine.processes[root])
    for _ in range(10):
        host.advance(STOP_TIMEOUT // 5)
    assert host.replies == [((root, 0), [-EAGAIN])]
    assert domain.pause_count == 0
    assert [number for _, number in host.signals] == [SIGSTOP, SIGCONT]
    assert not host.timers


@pytest.mark.parametrize("how", ["unpaused", "destroyed", "gone"])
def test_what_overtakes_a_pause_answers_it(host: FakeHost, how: str) -> None:
    machine, root, token = _world(host)
    host.moving = {token}
    domain = machine.processes[token].domain
    machine.pauses.pause(domain, machine.processes[root])
    if how == "unpaused":
        machine.births.unpause(domain)
    elif how == "destroyed":
        machine.ends.destroy(domain, machine.processes[root])
    else:
        machine.ends.process_gone(token, 9)
    host.advance(STOP_TIMEOUT // 5)
    assert host.replies[0] == ((root, 0), [0])
