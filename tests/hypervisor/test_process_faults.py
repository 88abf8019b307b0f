"""Rules about processes, on a machine without a kernel: signals, lives, what a removal undoes.

Seen red: `_Blow.lift` that does nothing (a rule that is taken away), `Pauses.apply` without
``brakes`` (a share of its time), `ProcessFaults.strike` without ``born`` (each life).
"""

from typing import Any

import pytest

from hvsim.abi.errno import EINVAL
from hvsim.abi.hypercall import HVSIM_DOMCTL_spawn, HYPERVISOR_domctl
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.faults import Standing
from hvsim.hypervisor.pauses import SIGCONT, SIGSTOP
from hvsim.hypervisor.process_faults import PERIOD
from hvsim.wire.fault import Rule, When
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import write
from tests.hypervisor.world import SECOND, World

SIGKILL = 9
SPEC = write(Spawn(process="xenstored"))


@pytest.fixture
def world() -> World:
    return World()


def add(world: World, seam: str, settings: dict[str, Any], when: When | None = None) -> Standing:
    handle = world.domain.handle
    rule = Rule(domain=handle, seam=seam, settings=settings, when=when or When(), seed=1)
    return world.machine.faults.add(rule)


def told(world: World) -> list[str]:
    records = world.machine.ledger.after(0, 1000)
    return [str(record["text"]) for record in records if record["kind"] == "fault.fired"]


def test_kill_after_a_time(world: World) -> None:
    add(world, "process", {"process": "kill", "in": [2.0, 2.0]})
    world.host.advance(2 * SECOND - 1)
    assert world.host.signals == []
    world.host.advance(1)
    assert world.host.signals == [(world.guest, SIGKILL)]
    assert world.machine.processes[world.guest].struck
    assert told(world) == [f"d{world.domain.domid} main killed"]


def test_crash(world: World) -> None:
    add(world, "process", {"process": "crash"})
    world.host.advance(1)
    assert world.domain.shutdown_code == 3


def test_a_stall_ends_with_its_rule(world: World) -> None:
    standing = add(world, "process", {"process": "stall"})
    world.host.advance(1)
    assert world.host.signals == [(world.guest, SIGSTOP)]
    world.machine.faults.remove(standing.rule.number)
    assert world.host.signals == [(world.guest, SIGSTOP), (world.guest, SIGCONT)]


def test_of_two_stalls_the_last_lets_go(world: World) -> None:
    """Red when the first rule that goes lets the process go on, though another holds it."""
    rules = [add(world, "process", {"process": "stall"}) for _ in range(2)]
    world.host.advance(1)
    world.machine.faults.remove(rules[1].rule.number)
    assert world.host.signals == [(world.guest, SIGSTOP)]
    world.machine.faults.remove(rules[0].rule.number)
    assert world.host.signals == [(world.guest, SIGSTOP), (world.guest, SIGCONT)]


def test_of_two_drifts_one_is_left(world: World) -> None:
    """Red when the end of one is the end of both."""
    time, now = world.domain.time, world.host.now
    first = add(world, "clock", {"clock.drift": 100_000.0})
    second = add(world, "clock", {"clock.drift": 500_000.0})
    rates = []
    for standing in (second, first, None):
        before = time.at(now())
        world.host.advance(SECOND)
        rates.append(round((time.at(now()) - before) / SECOND, 3))
        if standing is not None:
            world.machine.faults.remove(standing.rule.number)
    assert rates == [1.5, 1.1, 1.0]


def test_a_rule_that_is_taken_away_does_not_strike(world: World) -> None:
    standing = add(world, "process", {"process": "kill", "in": [1.0, 1.0]})
    world.machine.faults.remove(standing.rule.number)
    world.host.advance(2 * SECOND)
    assert world.host.signals == []


def test_each_life_is_struck_as_often_as_the_rule_says(world: World) -> None:
    machine = world.machine
    when = When(times=2)
    add(world, "process", {"process": "restart-loop", "in": [1.0, 1.0]}, when)
    token = world.guest
    struck = []
    for _ in range(3):
        world.host.advance(SECOND)
        struck.append((token, SIGKILL) in world.host.signals)
        again = machine.create_domain(world.domain.handle, 1, 24, 0)
        machine.births.load(again, Spawn(process="main"))
        machine.births.unpause(again)
        token += 1
        world.host.advance(SECOND + 1)  # it is made so late that the first look finds no process
        machine.births.process_spawned(token, 2000 + token, [])
    assert struck == [True, True, False]


def test_a_process_of_dom0(world: World) -> None:
    rule = Rule(process="kernel", seam="process", settings={"process": "kill"})
    world.machine.faults.add(rule)
    world.host.advance(1)
    assert world.host.signals == [(world.root, SIGKILL)]


def test_each_life_of_a_process_of_dom0(world: World) -> None:
    """Red without `Faults.spawned`: the first life alone was struck."""
    births, dom0 = world.machine.births, world.machine.domains[0]
    first = births.spawn(dom0, Spawn(process="xenstored"), False)
    births.process_spawned(first.token, 3000, [])
    settings = {"process": "restart-loop", "in": [1.0, 1.0]}
    rule = Rule(process="xenstored", seam="process", settings=settings, when=When(times=2))
    world.machine.faults.add(rule)
    struck, token = [], first.token
    for _ in range(3):
        world.host.advance(SECOND)
        struck.append((token, SIGKILL) in world.host.signals)
        world.machine.ends.process_gone(token, 9)
        world.host.advance(SECOND)
        pid = world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_spawn, 0, SPEC)
        assert pid == [0]
        [token] = [one.token for one in dom0.processes.values() if one.name == "xenstored"]
        births.process_spawned(token, 3000 + token, [])
    assert struck == [True, True, False]


def test_a_life_that_ends_by_itself_leaves_the_next_its_time(world: World) -> None:
    """Red when a strike does not know for which life it was: the second had half a second."""
    births, dom0 = world.machine.births, world.machine.domains[0]
    first = births.spawn(dom0, Spawn(process="xenstored"), False)
    births.process_spawned(first.token, 3000, [])
    settings = {"process": "restart-loop", "in": [1.0, 1.0]}
    world.machine.faults.add(Rule(process="xenstored", seam="process", settings=settings))
    world.host.advance(SECOND // 2)
    world.machine.ends.process_gone(first.token, 9)
    assert world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_spawn, 0, SPEC) == [0]
    [token] = [one.token for one in dom0.processes.values() if one.name == "xenstored"]
    births.process_spawned(token, 4000, [])
    world.host.advance(SECOND - 1)
    assert world.host.signals == []
    world.host.advance(1)
    assert world.host.signals == [(token, SIGKILL)]


def test_dom0_as_a_whole_is_not_slow(world: World) -> None:
    """Red when it is taken: it said that dom0 runs a fifth of its time, and nobody was stopped."""
    with pytest.raises(XenError, match="one by one"):
        world.machine.faults.add(Rule(seam="cpu", settings={"cpu": 0.2}))


def test_a_share_of_its_time(world: World) -> None:
    standing = add(world, "cpu", {"cpu": 0.2})
    run = PERIOD // 5
    assert world.host.signals == []
    for _ in range(3):
        world.host.advance(run)
        assert world.host.signals.pop() == (world.guest, SIGSTOP)
        world.host.advance(PERIOD - run)
        assert world.host.signals.pop() == (world.guest, SIGCONT)
    world.host.advance(run)
    world.machine.faults.remove(standing.rule.number)
    assert world.host.signals == [(world.guest, SIGSTOP), (world.guest, SIGCONT)]
    world.host.advance(PERIOD)
    assert len(world.host.signals) == 2
    assert told(world) == [f"d{world.domain.domid} runs 20% of its time"]


def test_a_small_share_is_not_lost_to_late_timers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timers come up to a millisecond late.  Red when what is late is taken from the share: of one
    in a hundred, which is half a millisecond, nothing was left, and the domain stood still."""
    soon, late = world.host.call_later, PERIOD // 50
    monkeypatch.setattr(world.host, "call_later", lambda delay, call: soon(delay + late, call))
    add(world, "cpu", {"cpu": 0.01})
    guest = world.machine.processes[world.guest]
    for _ in range(4):
        ran = 0
        for _ in range(500):
            ran += not guest.stopped
            world.host.advance(PERIOD // 500)
        assert 5 <= ran <= 20


def test_of_two_shares_the_lesser_holds(world: World) -> None:
    """Red when a turn lets go what another rule holds, and when each has periods of its own."""
    more = add(world, "cpu", {"cpu": 0.6})
    world.host.advance(PERIOD // 2)
    less = add(world, "cpu", {"cpu": 0.2})
    world.host.advance(PERIOD // 2)
    world.host.signals.clear()
    guest = world.machine.processes[world.guest]

    def ran(periods: int) -> int:
        """In how many fiftieths of the next periods it runs."""
        found = 0
        for _ in range(periods * 50):
            found += not guest.stopped
            world.host.advance(PERIOD // 50)
        return found

    assert ran(2) == 20
    assert len(world.host.signals) == 4
    world.machine.faults.remove(less.rule.number)
    assert ran(1) == 30
    world.machine.faults.remove(more.rule.number)
    assert not guest.brakes


@pytest.mark.parametrize(
    ("seam", "settings"),
    [
        ("process", {"process": "explode"}),
        ("process", {"process": "kill", "in": [2.0, 1.0]}),
        ("process", {"process": "kill", "in": "soon"}),
        ("cpu", {"cpu": 0.0}),
        ("cpu", {"cpu": "all"}),
        ("clock", {"clock.jump": "far"}),
        ("clock", {"clock.drift": 600_000.0}),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    world: World, seam: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(XenError) as refused:
        add(world, seam, settings)
    assert refused.value.errno == EINVAL
    assert len(world.machine.faults) == 0
