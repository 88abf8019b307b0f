"""The registry of rules, on a machine without a kernel: numbers, limits, lives, who may ask.

Seen red: `Faults._tell` that tells nobody, `Faults.gone` that forgets nothing (a life that has
ended), `_is` without the process's name, `Bells.port_closed` that keeps what was covered,
`BellRule.fits` that looks at no process, `Bells._lift` that rings nobody.
"""

from typing import Any

import pytest

from hvsim.abi.errno import E2BIG, EINVAL, ENOENT, ENOSPC, EPERM
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_list,
    HVSIM_DOMCTL_fault_remove,
    HVSIM_EVTCHN_fetch,
    HVSIM_OP_fault_cover,
    HVSIM_OP_fault_fired,
    HVSIM_OP_faults,
    HYPERVISOR_domctl,
    HYPERVISOR_event_channel_op,
    HYPERVISOR_hvsim_op,
)
from hvsim.hypervisor.bells import MAX_COVERED, MAX_ON_ONE
from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.faults import LINES_BURST, MAX_RULES
from hvsim.hypervisor.wires import MAX_LATE_OF_ONE
from hvsim.wire.fault import Rule, When
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import changed, read, write
from tests.hypervisor.world import SECOND, World

BY = "x:y"
HANDLE = bytes(range(16))


@pytest.fixture
def world() -> World:
    return World()


def rule(**more: Any) -> Rule:
    return Rule(**{"text": "web breaks", "domain": HANDLE, "by": BY, **more})


def add(world: World, wanted: Rule) -> list[Any]:
    return world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_add, write(wanted))


def ask(world: World, token: int, after: int = 0) -> list[Rule]:
    _, rows = world.call(token, HYPERVISOR_hvsim_op, HVSIM_OP_faults, after)
    return [read(Rule, row) for row in rows]


def told(world: World, kind: str) -> list[str]:
    return [str(row["text"]) for row in world.machine.ledger.after(0, 10000) if row["kind"] == kind]


def second_life(world: World) -> tuple[Domain, int]:
    """The domain is made again, while its earlier life is still there."""
    domain = world.machine.create_domain(HANDLE, 1, 24, 0)
    world.machine.births.load(domain, Spawn(process="main"))
    world.machine.births.unpause(domain)
    token = max(world.machine.processes)
    world.machine.births.process_spawned(token, 1000 + token, [])
    return domain, token


def test_numbers_are_never_given_again(world: World) -> None:
    assert [add(world, rule()) for _ in range(2)] == [[0, 1], [0, 2]]
    remove = HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove
    assert world.call(world.root, *remove, 2) == [0]
    assert world.call(world.root, *remove, 2)[0] == -ENOENT
    assert add(world, rule()) == [0, 3]
    assert told(world, "fault.added")[0] == "1: web breaks"
    assert told(world, "fault.removed") == ["2: web breaks; it fired 0 times"]


def test_a_list_goes_on_from_a_number(world: World) -> None:
    for _ in range(11):
        add(world, rule())
    listed: list[int] = []
    while True:
        after = listed[-1] if listed else 0
        answer = world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, after)
        if not answer[1]:
            break
        listed += [read(Rule, row["rule"]).number for row in answer[1]]
    assert listed == list(range(1, 12))
    assert [one.number for one in ask(world, world.guest, 8)] == [9, 10, 11]
    assert [one.number for one in ask(world, world.guest)] == list(range(1, 9))


@pytest.mark.parametrize(
    ("wanted", "errno"),
    [
        (rule(domain=b"x"), EINVAL),
        (rule(peer=b"x"), EINVAL),
        (rule(by=""), EINVAL),
        (rule(seam="nothing"), EINVAL),
        (rule(text="x" * 5000), E2BIG),
        (rule(seam="bell", settings={"bell.drop": 1.0}), EINVAL),
        (rule(seam="grant", settings={"grant": "wat"}, peer=bytes(16)), EINVAL),
        (rule(seam="grant", settings={"grant": "hold"}), EINVAL),
        (rule(seam="grant", settings={"grant": "hold", "status": "x"}, peer=HANDLE), EINVAL),
    ],
)
def test_what_makes_no_sense_is_refused(world: World, wanted: Rule, errno: int) -> None:
    assert add(world, wanted)[0] == -errno
    assert len(world.machine.faults) == 0


def test_no_rule_at_all_is_refused(world: World) -> None:
    answer = world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_add, {"text": 7})
    assert answer[0] == -EINVAL


def test_limits(world: World) -> None:
    for _ in range(16):
        assert add(world, rule(seam="grant", settings={"grant": "hold"}, peer=bytes(16)))[0] == 0
    too_many = rule(seam="grant", settings={"grant": "hold"}, peer=bytes(16))
    assert add(world, too_many)[0] == -ENOSPC
    storm = rule(seam="bell", settings={"bell.storm": 6000.0}, peer=bytes(16))
    assert [add(world, storm)[0] for _ in range(2)] == [0, -ENOSPC]
    while len(world.machine.faults) < MAX_RULES:
        assert add(world, rule())[0] == 0
    assert add(world, rule())[0] == -ENOSPC


def test_only_dom0_breaks_and_nobody_fires_anothers(world: World) -> None:
    guest = world.guest
    for cmd, argument in (
        (HVSIM_DOMCTL_fault_add, {}),
        (HVSIM_DOMCTL_fault_remove, 1),
        (HVSIM_DOMCTL_fault_list, 0),
    ):
        assert world.call(guest, HYPERVISOR_domctl, cmd, argument)[0] == -EPERM
    add(world, rule(domain=bytes(16)))
    assert ask(world, guest) == []
    assert len(ask(world, world.root)) == 1
    fired = HYPERVISOR_hvsim_op, HVSIM_OP_fault_fired, 1, "x"
    assert world.call(guest, *fired)[0] == -ENOENT
    assert world.call(world.root, *fired) == [0]


def test_a_rule_of_another_process_is_not_for_the_main_one(world: World) -> None:
    add(world, rule(domain=bytes(16), process="xenstored"))
    assert ask(world, world.root) == []
    dom0 = world.machine.domains[0]
    store = world.machine.births.spawn(dom0, Spawn(process="xenstored"), False)
    world.machine.births.process_spawned(store.token, 77, [])
    assert [one.process for one in ask(world, store.token)] == ["xenstored"]


def test_news_come_with_a_fetch_and_once(world: World) -> None:
    fetch = HYPERVISOR_event_channel_op, HVSIM_EVTCHN_fetch
    assert world.call(world.guest, *fetch) == [0, []]
    add(world, rule())
    assert world.call(world.guest, *fetch) == [0, [], True]
    assert world.call(world.guest, *fetch) == [0, []]
    world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove, 1)
    assert world.call(world.guest, *fetch) == [0, [], True]


def test_a_rule_ends_when_its_time_has_come(world: World) -> None:
    add(world, rule(seconds=2.0))
    world.host.advance(2 * SECOND - 1)
    assert len(world.machine.faults) == 1
    world.host.advance(1)
    assert len(world.machine.faults) == 0
    add(world, rule(seconds=2.0))
    world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove, 2)
    world.host.advance(3 * SECOND)
    assert len(told(world, "fault.removed")) == 2


def test_a_rule_outlives_its_domain_and_finds_the_next(world: World) -> None:
    add(world, rule())
    add(world, rule(domain=bytes(16), peer=HANDLE))
    [about] = ask(world, world.root)
    assert about.peer_domid == world.domain.domid
    domain, token = second_life(world)
    [about] = ask(world, world.root)
    assert about.peer_domid == domain.domid
    assert [one.number for one in ask(world, token)] == [1]
    faults = world.machine.faults
    faults.gone(domain)
    assert faults.living(HANDLE) is world.domain
    faults.gone(world.domain)
    assert faults.living(HANDLE) is None
    assert ask(world, world.root)[0].peer_domid == -2


def test_a_rule_of_both_ends_has_each_as_its_own(world: World) -> None:
    add(world, rule(peer=bytes(16), peer_process="kernel", both=True))
    [front], [back] = ask(world, world.guest), ask(world, world.root)
    assert (front.domain, front.peer_domid) == (HANDLE, 0)
    assert (back.domain, back.peer_domid) == (bytes(16), world.domain.domid)
    assert back.process == "kernel"


def test_a_firing_is_counted_and_too_many_lines_are_not_written(world: World) -> None:
    add(world, rule())
    for _ in range(LINES_BURST + 10):
        world.call(world.guest, HYPERVISOR_hvsim_op, HVSIM_OP_fault_fired, 1, "it did")
    assert len(told(world, "fault.fired")) == LINES_BURST
    [row] = world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, 0)[1]
    assert read(Rule, row["rule"]).fired == LINES_BURST + 10
    assert row["last"] == "it did"


def test_why_a_rule_is_not_in_place(world: World) -> None:
    add(world, rule())
    cover = HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, 1
    assert world.call(world.guest, *cover, False, "no such disk", []) == [0]
    [row] = world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, 0)[1]
    assert row["trouble"] == "no such disk"
    assert told(world, "fault.refused") == ["no such disk"]
    world.call(world.guest, *cover, True, "", [])
    [row] = world.call(world.root, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, 0)[1]
    assert row["trouble"] == ""
    assert world.call(world.guest, *cover, True, "", [1])[0] == -EINVAL, "not its port"


def bell(**more: Any) -> Rule:
    return rule(**{"peer": bytes(16), "seam": "bell", "settings": {"bell.drop": 1.0}, **more})


def wired(world: World) -> tuple[Any, Any]:
    """A channel between the domain and dom0: both ports."""
    machine, guest = world.machine, world.domain
    front = guest.events.alloc_unbound(0, world.guest)
    machine.open_port(front, True)
    dom0 = machine.domains[0]
    back = dom0.events.bind_interdomain(guest.events, front.number, world.root)
    machine.open_port(back, True)
    return front, back


def test_what_is_covered_ends_with_the_port(world: World) -> None:
    front, back = wired(world)
    add(world, bell())
    cover = HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, 1, True, ""
    assert not front.mediated
    assert world.call(world.guest, *cover, [front.number]) == [0]
    assert world.call(world.guest, *cover, [back.number + 1000])[0] == -EINVAL
    assert (front.mediated, back.mediated) == (True, False)
    before = back.rx.rings
    world.machine.wires.send(front)
    assert back.rx.rings == before
    world.machine.close_port(world.domain, front.number)
    again = world.domain.events.alloc_unbound(0, world.guest)
    assert again.number == front.number
    dom0 = world.machine.domains[0]
    world.machine.open_port(again, True)
    other = dom0.events.bind_interdomain(world.domain.events, again.number, world.root)
    world.machine.open_port(other, True)
    world.machine.wired(again)
    assert not again.mediated
    numbers = [world.domain.events.alloc_unbound(0, world.guest).number for _ in range(MAX_COVERED)]
    assert world.call(world.guest, *cover, [again.number, *numbers])[0] == -ENOSPC


def test_a_rule_between_domains_needs_nobody(world: World) -> None:
    front, back = wired(world)
    standing = world.machine.faults.add(bell(by="", both=True))
    assert front.mediated
    assert back.mediated
    world.machine.faults.remove(standing.rule.number)
    assert not front.mediated
    assert not back.mediated


def test_a_rule_of_dom0_is_undone_by_who_comes_after_the_dead(world: World) -> None:
    """Seen red: with a rule that goes at once; nobody undoes then what the dead has kept of it."""
    dom0, births = world.machine.domains[0], world.machine.births
    store = births.spawn(dom0, Spawn(process="xenstored"), False).token
    births.process_spawned(store, 1000 + store, [])
    add(world, rule(domain=bytes(16), process="xenstored"))
    remove = HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove, 1
    cover: tuple[Any, ...] = (HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, 1, True, "", [])
    assert world.call(store, *cover) == [0]
    world.machine.ends.process_gone(store, 9)
    assert world.call(world.root, *remove) == [0]
    assert told(world, "fault.removed") == []
    [standing] = world.machine.faults.standing()
    assert standing.last.startswith("taken away: it goes when"), "red when the list does not say so"
    again = births.spawn(dom0, Spawn(process="xenstored"), False).token
    births.process_spawned(again, 1000 + again, [])
    assert [one.number for one in ask(world, again)] == [1]
    assert world.call(again, *cover) == [0]
    world.host.advance(1)
    assert told(world, "fault.removed") == ["1: web breaks; it fired 0 times"]
    assert ask(world, again) == []


def test_what_a_spent_rule_was_about_is_as_without_it(world: World) -> None:
    """Seen red: with a rule that mediates as long as it stands."""
    front, back = wired(world)
    twice = {"bell.duplicate": 1.0}
    world.machine.faults.add(bell(by="", both=True, when=When(times=1), settings=twice))
    before = back.rx.rings
    world.machine.wires.send(front)
    assert (front.mediated, back.mediated) == (True, True), "what it holds is still to come"
    world.host.advance(SECOND)
    assert (front.mediated, back.mediated) == (False, False)
    assert back.rx.rings == before + 2
    world.machine.wires.send(front)
    assert back.rx.rings == before + 3


def test_what_a_spent_rule_has_lost_stays_lost(world: World) -> None:
    """Red when its ports become direct again: they are rung then."""
    front, back = wired(world)
    world.machine.faults.add(bell(by="", both=True, when=When(times=1)))
    before = back.rx.rings
    world.machine.wires.send(front)
    world.host.advance(SECOND)
    assert (front.mediated, back.mediated) == (True, True)
    assert back.rx.rings == before
    world.machine.wires.send(front)
    assert back.rx.rings == before + 1


def test_processes_at_either_end_are_told_apart(world: World) -> None:
    front, back = wired(world)
    faults = world.machine.faults
    faults.add(bell(by="", both=True, peer_process="xenstored"))
    assert not front.mediated
    faults.add(bell(by="", both=True, peer_process="kernel"))
    assert front.mediated
    assert back.mediated


def test_rules_about_the_same_channels_are_few(world: World) -> None:
    front, _ = wired(world)
    faults = world.machine.faults
    standing = [faults.add(bell(by="")) for _ in range(MAX_ON_ONE + 1)]
    assert not standing[-2].trouble
    assert standing[-1].trouble == f"{MAX_ON_ONE} rules are about those two domains at most"
    for _ in range(MAX_ON_ONE):
        faults.add(bell())
    cover = HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover
    last = MAX_ON_ONE + 1
    for number in range(last + 1, last + MAX_ON_ONE + 1):
        assert world.call(world.guest, *cover, number, True, "", [front.number]) == [0]
    number = faults.add(bell()).rule.number
    assert world.call(world.guest, *cover, number, True, "", [front.number])[0] == -ENOSPC


def test_what_is_late_is_bounded(world: World) -> None:
    front, back = wired(world)
    slow = changed(bell(by=""), settings={"bell.delay": [50.0, 50.0]})
    standing = world.machine.faults.add(slow)
    before = back.rx.rings
    for _ in range(MAX_LATE_OF_ONE + 5):
        world.machine.wires.send(front)
    assert back.rx.rings == before + 5
    world.machine.faults.remove(standing.rule.number)
    assert back.rx.rings == before + 5 + MAX_LATE_OF_ONE
    world.host.advance(100 * SECOND)
    assert back.rx.rings == before + 5 + MAX_LATE_OF_ONE


def test_rules_together_make_few_copies(world: World) -> None:
    front, back = wired(world)
    for _ in range(20):
        twice = changed(bell(by=""), settings={"bell.duplicate": 1.0})
        world.machine.faults.add(twice)
    before = back.rx.rings
    world.machine.wires.send(front)
    world.host.advance(SECOND)
    assert back.rx.rings == before + 8
