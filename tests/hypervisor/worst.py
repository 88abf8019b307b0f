"""The worst that can be asked of a hypervisor whose machine is as full as its limits allow."""

from collections.abc import Callable
from functools import partial
from typing import Any

from hvsim.abi import domctl, event_channel, grant_table, memory, sched, vcpu
from hvsim.abi import hypercall as abi
from hvsim.abi.errno import EBUSY
from hvsim.abi.hypercall import DOMID_SELF, MESSAGE_MAX
from hvsim.hypervisor.bells import MAX_COVERED
from hvsim.hypervisor.calls import TABLE
from hvsim.hypervisor.debug_keys import KEYS
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.faults import MAX_RULES
from hvsim.hypervisor.lockstep.choices import Recorded, chooser
from hvsim.hypervisor.lockstep.turns import Turns
from hvsim.wire.fault import Rule
from hvsim.wire.typed import changed, write
from tests.hypervisor.crowd import Crowd

OTHERS = 0x7FEF
"""A domain number that nobody has."""

LONG = 100_000
"""Choices of a run in lockstep that goes on and on."""

Asked = tuple[Process, list[Any]]


class Lockstep:
    """A machine in lockstep, as calls see it, with many who wait and a long tape."""

    def __init__(self) -> None:
        self._choices = Recorded(chooser("tape", "", dict.fromkeys(range(LONG), 1)))
        for _ in range(LONG):
            self._choices.choose(("one", "two"))
        self._turns = Turns(self._choices, lambda _token: None)
        self._gate = False

    def park(self, process: Process, until: int) -> None:
        if not self._turns.takes(process.token):
            birth = self._turns.birth
            birth(process.token, process.name, lambda: False, lambda: None)
            first = self._turns.next(0, ())
            assert first is not None
            self._turns.take(first)
        self._turns.parks(process.token, process.domain.time.when(until), lambda: None)

    def open_gate(self, caller: Process, by: int, quiet: bool) -> None:
        if self._gate:
            raise XenError(EBUSY, "opened")
        self._gate = True

    def tape(self, start: int, count: int) -> tuple[int, dict[int, int]]:
        return self._choices.made, self._choices.part(start, count)


class Worst:
    """The worst that can be asked of each command: who asks, and with which arguments."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.root = crowd.root
        self.giant, self.peer = crowd.giant()
        self.told: dict[tuple[int, int], Callable[[], list[Asked]]] = {}
        self._memory()
        self._grants()
        self._events()
        self._dom0()
        self._small_ones()

    def of(self, call: int, cmd: int, *asked: Callable[[], Asked]) -> None:
        self.told[call, cmd] = lambda: [one() for one in asked]

    def guest(self, *arguments: Any) -> Callable[[], Asked]:
        return lambda: (self.giant, list(arguments))

    def dom0(self, *arguments: Any) -> Callable[[], Asked]:
        return lambda: (self.root, list(arguments))

    def _memory(self) -> None:
        call = abi.HYPERVISOR_memory_op
        number = self.giant.domain.memory.extents
        self.of(call, memory.XENMEM_current_reservation, self.guest(DOMID_SELF))
        self.of(call, memory.XENMEM_maximum_reservation, self.guest(DOMID_SELF))
        self.of(
            call,
            abi.HVSIM_MEM_alloc_extent,
            self.guest(16000, 0),  # a very large one, from what is left
            self.guest(1, 0),
            self.guest(1 << 40, 0),
        )
        self.of(call, abi.HVSIM_MEM_get_extent, self.guest(0), self.guest(1 << 40))
        self.of(call, abi.HVSIM_MEM_get_foreign, self.dom0(self.giant.domid, 3))
        self.of(
            call,
            abi.HVSIM_MEM_free_extent,
            # 64 MiB that are full, and what nobody maps any more of the rest
            *(self.guest(one) for one, extent in list(number.items()) if not extent.pins),
            self.guest(1 << 40),
        )

    def _grants(self) -> None:
        call, giant = abi.HYPERVISOR_grant_table_op, self.giant.domid
        flags = grant_table.GNTMAP_host_map
        many = list(range(1001, 1513))
        fresh = self.crowd.domain(2048)
        for ref in range(512):
            self.crowd.grant(fresh, 8 + ref, self.peer, self.crowd.extent(fresh, 1).base_gfn)
        handles = list(self.peer.handles)
        row = [DOMID_SELF, False, self._own_gfn(), 0, DOMID_SELF, False, self._own_gfn(), 0, 4096]
        maps = [[[flags, ref, giant] for ref in many], [[flags, 8 + n, fresh.domid] for n in many]]
        maps += [[[flags, 8 + n, fresh.domid] for n in range(512)], [[flags, 1 << 40, giant]] * 512]
        self.of(
            call,
            grant_table.GNTTABOP_map_grant_ref,
            *(lambda batch=batch: (self.peer, [batch]) for batch in maps),
        )
        self.of(
            call,
            grant_table.GNTTABOP_unmap_grant_ref,
            lambda: (self.peer, [handles[:512]]),
            lambda: (self.peer, [[1 << 40] * 512]),
        )
        self.of(call, grant_table.GNTTABOP_copy, self.guest([row] * 512))
        self.of(call, grant_table.GNTTABOP_setup_table, self.guest(DOMID_SELF))
        self.of(call, grant_table.GNTTABOP_query_size, self.guest(DOMID_SELF))
        self.of(call, abi.HVSIM_GNTTAB_in_use, self.guest(list(range(3000, 11192))))

    def _own_gfn(self) -> int:
        return next(e.base_gfn for e in self.giant.domain.memory.extents.values() if e.token)

    def _events(self) -> None:
        call = abi.HYPERVISOR_event_channel_op
        port = 200
        self.of(call, event_channel.EVTCHNOP_alloc_unbound, self.guest(DOMID_SELF, 0))
        self.of(call, event_channel.EVTCHNOP_bind_interdomain, self.guest(OTHERS, port))
        self.of(call, event_channel.EVTCHNOP_bind_virq, self.guest(0, 0))
        self.of(call, event_channel.EVTCHNOP_close, self.guest(port))
        self.of(call, event_channel.EVTCHNOP_send, self.guest(port + 1))
        self.of(call, event_channel.EVTCHNOP_status, self.guest(DOMID_SELF, port + 1))
        self.of(call, event_channel.EVTCHNOP_unmask, self.guest(port + 1))
        self.of(call, abi.HVSIM_EVTCHN_mask, self.guest(port + 1))
        self.of(call, abi.HVSIM_EVTCHN_fetch, self.guest())

    def _dom0(self) -> None:
        call, giant = abi.HYPERVISOR_domctl, self.giant.domid
        new: dict[str, Any] = {"handle": bytes(16), "max_vcpus": 32, "max_pages": 1 << 31}
        empty = self.crowd.machine.create_domain(bytes(16), 1, 1 << 21, 0).domid
        victim, _ = self.crowd.giant(handles=2000)
        big = "x" * (MESSAGE_MAX - 1000)
        again = {**new, "handle": self.giant.domain.handle}  # many rules are about it
        self.of(call, domctl.XEN_DOMCTL_createdomain, self.dom0(new), self.dom0(again))
        self.of(call, domctl.XEN_DOMCTL_getdomaininfo, self.dom0(0))
        self.of(call, domctl.XEN_DOMCTL_max_mem, self.dom0(giant, 1 << 31))
        self.of(call, abi.HVSIM_DOMCTL_populate, self.dom0(empty, 1 << 21))
        self.of(call, abi.HVSIM_DOMCTL_gnttab_seed, self.dom0(giant, 8, 0, self._own_gfn()))
        self.of(call, abi.HVSIM_DOMCTL_set_start_info, self.dom0(giant, {"x": big}))
        self.of(call, abi.HVSIM_DOMCTL_load, self.dom0(empty, {"name": big}))
        self.of(call, abi.HVSIM_DOMCTL_set_target, self.dom0(giant, self.peer.domid))
        self.of(call, abi.HVSIM_DOMCTL_spawn, self.dom0(giant, {"process": big}))
        self.of(call, abi.HVSIM_DOMCTL_fault, self.dom0(0, "p63", "stall"))
        self.of(call, abi.HVSIM_DOMCTL_peek, self.dom0(giant, 1001, 0, 4096))
        self.of(call, domctl.XEN_DOMCTL_pausedomain, self.dom0(victim.domid))
        self.of(call, domctl.XEN_DOMCTL_unpausedomain, self.dom0(victim.domid))

        def destroy() -> Asked:
            self.crowd.machine.ends.process_gone(victim.token, 9)
            for _ in self.crowd.rest():
                pass
            return self.root, [victim.domid]

        self.of(call, domctl.XEN_DOMCTL_destroydomain, destroy)
        cpus = list(range(1024))
        both = domctl.XEN_VCPUAFFINITY_HARD | domctl.XEN_VCPUAFFINITY_SOFT
        self.of(
            call,
            domctl.XEN_DOMCTL_setvcpuaffinity,
            self.dom0(0, 0, both, cpus, cpus),
            self.dom0(giant, 0, both, cpus, cpus),
        )
        lend = abi.HVSIM_DOMCTL_lend
        long = "/" + "x/" * 2000
        self.of(
            call,
            lend,
            *(self.dom0(giant, path, mode) for path in (__file__, long) for mode in "rw"),
            self.dom0(giant, "/" + big, "r"),
            self.dom0(giant, __file__, ""),
        )
        self.of(call, domctl.XEN_DOMCTL_getvcpuaffinity, self.dom0(giant, 0))
        nmi = domctl.XEN_DOMCTL_SENDTRIGGER_NMI
        self.of(call, domctl.XEN_DOMCTL_sendtrigger, self.dom0(giant, nmi, 0))
        call = abi.HYPERVISOR_sysctl
        self.of(
            call,
            domctl.XEN_SYSCTL_debug_keys,
            *(self.dom0(key) for key in KEYS),
            self.dom0("".join(KEYS)),
        )
        self.of(call, domctl.XEN_SYSCTL_getdomaininfolist, self.dom0(0, 1 << 40))
        self.of(call, domctl.XEN_SYSCTL_physinfo, self.dom0())
        self.of(call, domctl.XEN_SYSCTL_readconsole, self.dom0(False), self.dom0(True))
        self.of(call, abi.HVSIM_SYSCTL_ledger, self.dom0(0, 1 << 40))
        self.of(call, abi.HVSIM_SYSCTL_ledger_news, self.dom0(0))
        self.of(call, abi.HVSIM_SYSCTL_processes, self.dom0())
        self.of(call, abi.HVSIM_SYSCTL_holdings, *map(self.dom0, list(self.crowd.machine.domains)))
        self.crowd.machine.lockstep = Lockstep()
        self.of(
            call,
            abi.HVSIM_SYSCTL_advance,
            self.dom0(1 << 62, True),
            self.dom0(0, False),
            self.dom0(-1, False),
        )
        self.of(
            call,
            abi.HVSIM_SYSCTL_tape,
            *(self.dom0(start) for start in (0, LONG - 1, 1 << 62, -1)),
        )
        self._faults()
        call = abi.HYPERVISOR_hvsim_op
        self.of(call, abi.HVSIM_OP_park, *(self.guest(until) for until in (-1, 1 << 62)))
        self.of(call, abi.HVSIM_OP_note, self.dom0("store.x", 0, "\n" * 8192))
        self.of(call, abi.HVSIM_OP_start_info, self.guest())
        self.of(call, abi.HVSIM_OP_borrow, self.guest(__file__, "r"), self.guest("/" + big, "w"))

    def _faults(self) -> None:
        """As many rules as may stand, of every kind, all about dom0 and the giant: their channels
        and grants, so that what those do passes the rules as well."""
        faults, giant = self.crowd.machine.faults, self.giant
        handle, root = giant.domain.handle, bytes(16)
        between = Rule(domain=handle, peer=self.peer.domain.handle, both=True, seam="bell")
        bell = changed(between, settings={"bell.duplicate": 1.0, "bell.delay": [1.0, 1.0]})
        grant = changed(between, seam="grant", settings={"grant": "hold"})
        cover = changed(bell, by="x:y", domain=root, peer=handle, text="x" * 3000)
        numbers = [faults.add(rule).rule.number for rule in [bell] * 90 + [grant] * 16]
        while len(faults) < MAX_RULES - 1:
            numbers.append(faults.add(cover).rule.number)
        for _ in self.crowd.rest():
            pass
        bound = self.crowd.port(giant, self.peer.domid)
        events = self.peer.domain.events
        port_there = events.bind_interdomain(giant.domain.events, bound, self.peer.token)
        self.crowd.machine.open_port(port_there, True)
        call = abi.HYPERVISOR_event_channel_op
        self.of(call, event_channel.EVTCHNOP_send, self.guest(201), self.guest(bound))
        port = self.crowd.port(self.root, giant.domid)
        ports = [self.crowd.port(self.root, giant.domid) for _ in range(MAX_COVERED)]
        last = numbers[-1]
        call = abi.HYPERVISOR_domctl
        long = changed(cover, seconds=1e9)
        self.of(
            call,
            abi.HVSIM_DOMCTL_fault_add,
            self.dom0(write(long)),
            self.dom0(write(long)),
            self.dom0({"text": "x" * 60000}),
        )
        self.of(
            call,
            abi.HVSIM_DOMCTL_fault_list,
            self.dom0(0),
            self.dom0(numbers[-9]),
            self.dom0(1 << 40),
        )
        self.of(
            call,
            abi.HVSIM_DOMCTL_fault_remove,
            *(self.dom0(number) for number in (numbers[0], numbers[100], numbers[-2])),
            self.dom0(1 << 40),
        )
        call = abi.HYPERVISOR_hvsim_op
        self.of(
            call,
            abi.HVSIM_OP_faults,
            self.dom0(0),
            self.dom0(numbers[-9]),
            self.guest(0),
        )
        self.of(call, abi.HVSIM_OP_fault_fired, self.dom0(last, "x" * 60000))
        self.of(
            call,
            abi.HVSIM_OP_fault_cover,
            self.dom0(last, True, "", [port]),
            self.dom0(numbers[-3], True, "", ports),
            self.dom0(last, False, "x" * 60000, []),
            self.dom0(last, True, "", ports),
        )

    def _small_ones(self) -> None:
        self.of(
            abi.HYPERVISOR_console_io,
            abi.CONSOLEIO_write,
            self.guest(b"\n" * 8192),
            self.guest(b"\xff" * 8192),
            self.dom0(b"\n" * 8192),
        )
        call = abi.HYPERVISOR_xen_version
        for cmd in (
            abi.XENVER_version,
            abi.XENVER_extraversion,
            abi.XENVER_pagesize,
            abi.XENVER_guest_handle,
        ):
            self.of(call, cmd, self.guest())
        call = abi.HYPERVISOR_sched_op
        self.of(call, sched.SCHEDOP_remote_shutdown, self.dom0(self.peer.domid, 0))
        self.of(call, sched.SCHEDOP_watchdog, self.guest(0, 0xFFFF_FFFF))
        self.of(call, sched.SCHEDOP_shutdown, self.guest(0))
        self.of(abi.HYPERVISOR_vcpu_op, vcpu.VCPUOP_get_runstate_info, lambda: (self.root, [0]))
        asked = (self.root, [0, 0])
        self.of(abi.HYPERVISOR_domctl, domctl.XEN_DOMCTL_getvcpuinfo, lambda: asked)


def every_call(crowd: Crowd) -> dict[str, list[int]]:
    """What each piece of each call costs: name -> costs, of all that is asked of it."""
    worst = Worst(crowd)
    assert set(worst.told) == set(TABLE), "a call of the table is not asked"
    costs: dict[str, list[int]] = {}
    for (call, cmd), tell in worst.told.items():
        told = costs.setdefault(TABLE[call, cmd][0].__name__, [])
        for process, arguments in tell():
            told += crowd.ask(process, call, cmd, *arguments)
    return costs


def every_end(crowd: Crowd) -> list[int]:
    """The same for processes that end: one with thousands of mappings and ports, one whose extents
    are granted, and the peer that maps them."""
    giant, peer = crowd.giant(handles=4000)
    second = crowd.process(giant.domain, "second", False)
    for extent in giant.domain.memory.extents.values():
        if extent.token is not None:
            extent.token = second.token
    ends = crowd.machine.ends
    costs: list[int] = []
    for process in (second, peer, giant):
        costs += crowd.do(partial(ends.process_gone, process.token, 9))
    return costs


BOMBS = {
    "arrays": b"\x90",
    "maps": b"\x80",
    "numbers": b"\x01",
    "texts": b"\xa0",
    "arrays of one": b"\x91\x01",
    "extensions": b"\xd4\x05\x01",
    "times": b"\xd6\xff\0\0\0\x01",
    "nested": b"\x91",
    "maps of one": b"\x81\xa1x\x01",
}
"""What a message may be made of to cost much."""
CHEAP = ("numbers", "texts")
"""Of these as many as there is room for are no burden."""


def bomb(part: bytes, room: int = MESSAGE_MAX - 5) -> bytes:
    """A list of as many of *part* as there is room for, in bytes."""
    count = room // len(part)
    return b"\xdd" + count.to_bytes(4, "big") + part * count
