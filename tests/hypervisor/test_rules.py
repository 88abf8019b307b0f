"""The rules by the thousand, without a process: invariants under any sequence of calls."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hvsim.abi.event_channel import EVTCHNSTAT_interdomain, EVTCHNSTAT_unbound
from hvsim.abi.grant_table import GNTMAP_host_map, GNTMAP_readonly, GNTST_okay
from hvsim.hypervisor.console import ConsoleRing
from hvsim.hypervisor.domains import Domain, DomainIds, Process
from hvsim.hypervisor.ends import SIGKILL
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import Port
from hvsim.hypervisor.late import DEFERRED
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.memory import Extent
from hvsim.hypervisor.ratelimit import RateLimit
from hvsim.hypervisor.reclaim import MOST
from hvsim.wire.fault import Rule, When
from hvsim.wire.spawn import Spawn
from tests.hypervisor.fakes import FakeBell, FakeHost


def test_domids_wrap_past_what_is_mentioned() -> None:
    ids = DomainIds()
    first = [ids.take((), ()) for _ in range(0x7FEF)]
    assert first == list(range(1, 0x7FF0))
    assert ids.take({1}, {2}) == 3


def test_who_names_all_domids_does_not_use_them_up() -> None:
    """Seen red when every number that something names is passed over: ENOMEM, for everybody."""
    ids = DomainIds()
    alive = set(range(1, 100))
    assert ids.take(alive, range(0x8000)) not in alive
    assert ids.take(alive, range(0x8000)) not in alive


def test_rate_limit_counts() -> None:
    limit = RateLimit(2, 1.0)
    assert [limit.allow(0) for _ in range(4)] == [True, True, False, False]
    assert limit.allow(1_000_000_000)
    assert limit.take_suppressed() == 2


def test_console_is_bounded() -> None:
    ring = ConsoleRing(100)
    for number in range(50):
        ring.xen(f"line {number}")
    assert len(ring.read(True)) <= 100
    assert ring.read(False) == ""
    with pytest.raises(StopIteration) as done:
        next(ring.guest(1, b"x\n" * 100, 0))
    assert done.value.value is False, "it writes too fast"


def bell(found: object) -> FakeBell:
    """The doorbell that is there."""
    assert isinstance(found, FakeBell)
    return found


class World(RuleBasedStateMachine):
    """Three guests and dom0 doing to each other whatever the table of calls allows."""

    born = 0

    @initialize()
    def boot(self) -> None:
        self.host = FakeHost()
        self.machine = Machine(self.host, Ledger(self.host.now), 256)
        self.dom0 = self.machine.create_dom0(32, 1, "kernel")
        self.guests: list[Process] = []
        self.root = self.start(self.dom0)
        self.handles: dict[int, tuple[Process, bool]] = {}

    def start(self, domain: Domain) -> Process:
        process = self.machine.births.spawn(domain, Spawn(process="main"), True)
        self.machine.births.process_spawned(process.token, 1000 + process.token, [])
        return process

    def settle(self) -> None:
        """Whatever was left for later is done."""
        while self.machine.work.waiting:
            self.machine.work.turn()

    def pick(self, number: int) -> Process | None:
        alive = [p for p in self.guests if not p.gone]
        return alive[number % len(alive)] if alive else None

    @rule()
    def build(self) -> None:
        if len(self.machine.domains) > 5:
            return
        self.born += 1
        handle = self.born.to_bytes(16, "big")
        domain = self.machine.create_domain(handle, 1, 24, 0)
        for _ in self.machine.populate(domain, 24):
            pass
        domain.pause_count, domain.started = 0, True
        self.guests.append(self.start(domain))

    @rule(who=st.integers(0, 9), pages=st.integers(1, 8))
    def extend(self, who: int, pages: int) -> None:
        process = self.pick(who)
        if process is not None:
            try:
                self.machine.make_extent(process.domain, pages, process.token)
            except XenError:
                assert not any(n >= pages for _, n in process.domain.memory.ram)

    @rule(
        who=st.integers(0, 9),
        to=st.integers(0, 9),
        ref=st.integers(8, 12),
        gfn=st.integers(0, 26),
        flags=st.sampled_from([0, 1, 5, 2, 7]),
    )
    def write_entry(self, who: int, to: int, ref: int, gfn: int, flags: int) -> None:
        process, peer = self.pick(who), self.pick(to)
        if process is not None and peer is not None:
            table = self.machine.grant_table(process.domain)
            table.seed(ref, peer.domid, gfn)
            table._halves[ref * 4] = flags

    @rule(who=st.integers(0, 9), of=st.integers(0, 9), ref=st.integers(7, 13), ro=st.booleans())
    def map(self, who: int, of: int, ref: int, ro: bool) -> None:
        process, owner = self.pick(who), self.pick(of)
        if process is None or owner is None:
            return
        table = owner.domain.grants
        granted = table.frame(ref)
        peer = (
            int.from_bytes(table._view[ref * 8 + 2 : ref * 8 + 4], "little")
            if granted is not None
            else None
        )
        new: list[Extent] = []
        flags = GNTMAP_host_map | (GNTMAP_readonly if ro else 0)
        status, handle, _, _ = self.machine.transfers.map_one(process, flags, ref, owner.domid, new)
        if status == GNTST_okay:
            assert peer == process.domid, "only what was granted to it"
            extent = table.active[ref].extent
            assert extent.grantable
            assert extent.peer == process.domid, "one peer per extent"
            assert extent.memory.sealed is not None  # type: ignore[attr-defined]
            assert ro or extent.writable
            self.handles[handle] = process, ro
        else:
            assert not new, "no descriptor goes with a refusal"

    @rule(who=st.integers(0, 9), number=st.integers(0, 99))
    def unmap(self, who: int, number: int) -> None:
        process = self.pick(who)
        if process is not None:
            mine = list(process.domain.maptrack.mappings)
            handle = mine[number % len(mine)] if mine else number
            self.machine.transfers.unmap_one(process, handle)

    @rule(who=st.integers(0, 9), ref=st.integers(8, 12))
    def end_access(self, who: int, ref: int) -> None:
        process = self.pick(who)
        if process is not None and process.domain.grants.memory is not None:
            pins = process.domain.grants.end_access(ref)
            assert process.domain.grants.frame(ref) is None
            assert (pins > 0) == (ref in process.domain.grants.active)

    @rule(who=st.integers(0, 9), to=st.integers(0, 9))
    def alloc_port(self, who: int, to: int) -> None:
        process, peer = self.pick(who), self.pick(to)
        if process is not None and peer is not None:
            events = process.domain.events
            self.machine.open_port(events.alloc_unbound(peer.domid, process.token), True)

    @rule(who=st.integers(0, 9), to=st.integers(0, 9), number=st.integers(1, 6))
    def bind(self, who: int, to: int, number: int) -> None:
        process, peer = self.pick(who), self.pick(to)
        if process is not None and peer is not None:
            events = process.domain.events
            try:
                port = events.bind_interdomain(peer.domain.events, number, process.token)
            except XenError:
                return
            self.machine.open_port(port, True)
            assert port.peer is not None
            if not port.peer.delivered:
                self.machine.wired(port.peer)

    @rule(who=st.integers(0, 9), number=st.integers(1, 6))
    def close_port(self, who: int, number: int) -> None:
        process = self.pick(who)
        if process is not None and number in process.domain.events.ports:
            self.machine.close_port(process.domain, number)

    @rule(mediated=st.booleans())
    def mode(self, mediated: bool) -> None:
        faults = self.machine.faults
        for standing in faults.standing():
            faults.remove(standing.rule.number)
        handles = [domain.handle for domain in self.machine.domains.values()] if mediated else []
        for one, other in itertools.combinations(sorted(set(handles)), 2):
            settings = {"bell.drop": 1.0}
            never = When(after=1 << 40)
            faults.add(
                Rule(domain=one, peer=other, both=True, seam="bell", settings=settings, when=never)
            )
        while self.machine.work.waiting:
            self.machine.work.turn()

    @rule(who=st.integers(0, 9), number=st.integers(1, 6))
    def send(self, who: int, number: int) -> None:
        process = self.pick(who)
        if process is not None and (port := process.domain.events.ports.get(number)):
            peer = port.peer
            before = bell(peer.rx).rings if peer is not None else 0
            if port.given_tx is None:
                assert peer is None, "who is bound has a wire"
                return
            port.given_tx.ring()
            self.host.carry()
            if peer is not None:
                assert bell(peer.rx).rings == before + 1

    @rule(who=st.integers(0, 9))
    def die(self, who: int) -> None:
        process = self.pick(who)
        if process is not None:
            self.machine.ends.process_gone(process.token, 9)

    @rule(who=st.integers(0, 9), number=st.integers(0, 9))
    def free(self, who: int, number: int) -> None:
        """Give an extent up, as free_extent does."""
        process = self.pick(who)
        if process is not None and (mine := list(process.domain.memory.extents.values())):
            extent = mine[number % len(mine)]
            try:
                process.domain.memory.give_up(extent)
            except XenError:
                assert extent.pins
                return
            self.machine.reclaim.look(process.domain)

    @rule(number=st.integers(0, 99), holders=st.integers(0, 1))
    def hold(self, number: int, holders: int) -> None:
        """Somebody keeps a descriptor of an extent, or closes it."""
        memories = [memory for memory in self.host.memories if not memory.closed]
        memories[number % len(memories)].holders = holders

    @rule(pieces=st.integers(1, 9))
    def work(self, pieces: int) -> None:
        """Some of what was left for later, and time goes on."""
        for _ in range(pieces):
            self.machine.work.turn()
        self.host.advance(MOST // 4)

    @rule(number=st.integers(0, 9))
    def destroy(self, number: int) -> None:
        domains = [d for d in self.machine.domains.values() if d.domid]
        if domains:
            domain = domains[number % len(domains)]
            result = self.machine.ends.destroy(domain, self.root)
            for process in list(domain.processes.values()):
                assert result is DEFERRED
                assert (process.token, SIGKILL) in self.host.signals
                self.machine.ends.process_gone(process.token, 9)
            self.settle()
            if result is DEFERRED:
                assert self.host.replies.pop() == ((self.root.token, 0), [0])
            assert not domain.processes

    @invariant()
    def accounts_agree(self) -> None:
        if not hasattr(self, "machine"):
            return
        lent = 0
        pins: dict[int, int] = {}
        for domain in self.machine.domains.values():
            lent += domain.memory.nr_pages
            extents = (*domain.memory.extents.values(), *domain.memory.leaving.values())
            backed = sum(extent.nr_pages for extent in extents)
            assert backed + domain.memory.unbacked == domain.memory.nr_pages
            for mapping in domain.maptrack.mappings.values():
                key = mapping.active.extent.id
                pins[key] = pins.get(key, 0) + 1
        assert lent + self.machine.heap.free == 256, "no frame is lost"
        for domain in self.machine.domains.values():
            for extent in (*domain.memory.extents.values(), *domain.memory.leaving.values()):
                assert extent.pins == pins.pop(extent.id, 0), "pins are live mappings"
                assert not (extent.leaving and extent.pins), "nobody maps what was given up"
                assert not extent.memory.closed  # type: ignore[attr-defined]
            for active in domain.grants.active.values():
                assert active.pins > 0
                assert active.readers >= 0
                assert active.writers >= 0
        assert not pins, "nobody maps what is not there"

    @invariant()
    def wires_agree(self) -> None:
        if not hasattr(self, "machine"):
            return
        for domain, port in self.ports():
            assert (port.rx is None) == (port.tx is None)
            assert port.rx is None or not bell(port.rx).closed
            if port.state == EVTCHNSTAT_interdomain:
                peer = port.peer
                assert peer is not None
                assert peer.peer is port
                assert peer.remote == domain.domid
                assert port.tx is peer.rx
            elif port.state == EVTCHNSTAT_unbound:
                assert port.peer is None

    def ports(self) -> Iterator[tuple[Domain, Port]]:
        for domain in self.machine.domains.values():
            for port in domain.events.ports.values():
                yield domain, port

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        for domain in [d for d in self.machine.domains.values() if d.domid]:
            if domain.domid in self.machine.domains:
                self.machine.ends.destroy(domain, self.root)
                for process in list(domain.processes.values()):
                    self.machine.ends.process_gone(process.token, 9)
                self.settle()
        for memory in self.host.memories:
            memory.holders = 0
        self.host.advance(MOST)
        self.settle()
        assert set(self.machine.domains) == {0}, "all that dies is released in the end"
        assert self.machine.heap.free == 256 - 32
        kept = [memory for memory in self.host.memories if not memory.closed]
        assert len(kept) == 4, "dom0's store page and grant table, and the two of its vCPU"


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
