"""Domains and their processes: what they are, and the state they are in."""

from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final

from hvsim.abi.errno import ENOMEM
from hvsim.abi.hypercall import DOMID_FIRST_RESERVED
from hvsim.hypervisor.affinity import Affinity
from hvsim.hypervisor.domain_time import DomainTime
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import EventTable
from hvsim.hypervisor.grants import GrantTable, Maptrack
from hvsim.hypervisor.host import Address, Doorbell, File
from hvsim.hypervisor.memory import DomainMemory
from hvsim.hypervisor.vcpu import VCpu
from hvsim.hypervisor.vcpu_page import VCpuPage
from hvsim.wire.spawn import Spawn

MAX_DOMAINS: Final = 1024
MAX_LOOKS: Final = 1024
"""Numbers in a row that a new domain may pass over because something names them."""

ALIVE: Final = 0
DYING: Final = 1
"""Destroyed; its processes are being killed."""
DEAD: Final = 2
"""Everything is given up but what a peer maps: a zombie."""


@dataclass(slots=True, eq=False)
class Process:
    """One process of a domain, and so one hypercall connection.

    Attributes:
        token: its name between core and host; never used again.
        page: what it shares with the hypervisor as a vCPU; None for who is none (a visitor).
        vcpu: its run states.
        waits: the epoll set in which it waits, in lockstep.
        seed: of its dice.
        main: its end is the domain's end.
        pid: 0 until it was spawned.
        missing: walls of its sandbox that this machine does not allow.
        failure: why it could not be made, "" for one that was.
        gone: it is really gone.
        stalled: stopped by a fault, whatever the domain's pause count.
        brakes: rules that give it a share of its time only, by number -> whether it stands still
            for a moment.
        stopped: SIGSTOP is in force.
        struck: killed by a fault that somebody asked for: its end says nothing of its program.
        status: how it ended, as from waitpid(2); None while nobody has told.
        tag: of the call that is served now, 0 for a plain one.
        later: its tagged calls whose answers are still to come.
        extents: extents of peers that it holds a descriptor of -> live mappings.
        handles: its live mappings.
        faults_changed: whether rules of faults that it is to put in place have come or gone since
            it asked; None before it has asked for the first time.
    """

    token: int
    domain: "Domain"
    name: str
    main: bool
    upcall: Doorbell
    vcpu: VCpu
    page: VCpuPage | None = None
    waits: File | None = None
    seed: int = 0
    pid: int = 0
    missing: list[str] = field(default_factory=list)
    failure: str = ""
    gone: bool = False
    stalled: bool = False
    brakes: dict[int, bool] = field(default_factory=dict)
    stopped: bool = False
    struck: bool = False
    status: int | None = None
    tag: int = 0
    later: int = 0
    extents: dict[int, int] = field(default_factory=dict)
    handles: set[int] = field(default_factory=set)
    faults_changed: bool | None = None

    @property
    def domid(self) -> int:
        """The domain's number."""
        return self.domain.domid

    def close(self) -> None:
        """Let go of what it shares with us."""
        self.upcall.close()
        for held in (self.page, self.waits):
            if held is not None:
                held.close()

    @property
    def address(self) -> Address:
        """Where the answer to the call that is served now goes."""
        return self.token, self.tag


@dataclass(slots=True, eq=False)
class Domain:
    """One domain.

    Attributes:
        privileged: dom0: may build, destroy and look at all.
        target: the one other domain that it has rights over.
        pause_count: it runs only at 0.
        shutdown_code: SHUTDOWN_*, from the moment it is known.
        shut_down: it has stopped: no process is left.
        dying: ALIVE, DYING or DEAD.
        spec: how its main process is made, once loaded.
        cpu_time, queued_time: nanoseconds that processes which are gone have spent on CPUs, and
            waiting for one.
        vcpus: run states of its vCPUs; the first does all its work.
        time: its system time, over the host's.
        online_vcpus: how many of its vCPUs it has brought up.
        affinity: where they may run.
        closing: what it held is being released.
        sweeping, sweep_again, next_look, patience: the state of ``reclaim`` for it.
    """

    domid: int
    handle: bytes
    max_vcpus: int
    max_pages: int
    flags: int
    created: int
    memory: DomainMemory
    grants: GrantTable
    maptrack: Maptrack
    events: EventTable
    affinity: Affinity
    online_vcpus: int
    vcpus: list[VCpu]
    privileged: bool = False
    target: int | None = None
    pause_count: int = 1
    shutdown_code: int | None = None
    shut_down: bool = False
    dying: int = ALIVE
    spec: Spawn | None = None
    started: bool = False
    processes: dict[int, Process] = field(default_factory=dict)
    start_info: dict[str, object] = field(default_factory=dict)
    cpu_time: int = 0
    queued_time: int = 0
    time: DomainTime = field(default_factory=DomainTime)
    past: deque[Process] = field(default_factory=lambda: deque(maxlen=8))
    """The last processes that are gone."""
    lent: dict[tuple[str, bool], File] = field(default_factory=dict)
    """Files that dom0 lends it, by path and whether it may write to them."""
    closing: bool = False
    sweeping: bool = False
    sweep_again: bool = False
    next_look: int = 0
    patience: int = 0
    killers: list[Address] = field(default_factory=list)
    """The calls of destroydomain that wait for its end."""

    @property
    def main(self) -> Process | None:
        """The process whose end is the domain's."""
        return next((one for one in self.processes.values() if one.main and not one.gone), None)

    def process(self, name: str) -> Process | None:
        """A live process by name; "" is the main one."""
        if not name:
            return self.main
        alive = (one for one in self.processes.values() if not one.gone)
        return next((one for one in alive if one.name == name), None)


class DomainIds:
    """Numbers for new domains: they count up, and wrap only after all have been used."""

    def __init__(self) -> None:
        self._next = 1

    def take(self, alive: Container[int], named: Container[int]) -> int:
        """The next number that no domain has, and that nothing names any more, if there is one
        near: whoever names many numbers shall not use them up.

        Raises: XenError(ENOMEM) when there is none.
        """
        for last in (MAX_LOOKS, DOMID_FIRST_RESERVED):
            for _ in range(last):
                domid = self._next
                self._next = domid + 1 if domid + 1 < DOMID_FIRST_RESERVED else 1
                if domid not in alive and (last > MAX_LOOKS or domid not in named):
                    return domid
        raise XenError(ENOMEM, "no domain number is left")
