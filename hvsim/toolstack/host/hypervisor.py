"""The hypercalls of a toolstack: domctl and sysctl, one method each (libxenctrl's place).

They are quick and synchronous, but for the two that are answered when a domain stands still or is
gone: those are awaited.  See ``hvsim.abi.hypercall`` for the numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hvsim.abi import domctl, errno
from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault,
    HVSIM_DOMCTL_gnttab_seed,
    HVSIM_DOMCTL_lend,
    HVSIM_DOMCTL_load,
    HVSIM_DOMCTL_peek,
    HVSIM_DOMCTL_populate,
    HVSIM_DOMCTL_set_start_info,
    HVSIM_DOMCTL_spawn,
    HVSIM_OP_note,
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_processes,
    HYPERVISOR_domctl,
    HYPERVISOR_hvsim_op,
    HYPERVISOR_sched_op,
    HYPERVISOR_sysctl,
    HYPERVISOR_xen_version,
    XENVER_extraversion,
    XENVER_version,
)
from hvsim.abi.sched import SCHEDOP_remote_shutdown
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.toolstack.host.deferred import Deferred
from hvsim.toolstack.host.rows import state_letters, uuid_text
from hvsim.wire.answers import MachineInfo, ProcessInfo
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import write

_LIST_CHUNK: Final = 128


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """A domain as the hypervisor sees it (xen_domctl_getdomaininfo).

    Attributes:
        cpu_seconds: time that it has run.
        mem_pages, max_pages: what it has, and may have.
        shutdown_reason: SHUTDOWN_* when it is shut down.
    """

    domid: int
    uuid: str
    mem_pages: int
    max_pages: int
    vcpus: int
    cpu_seconds: float
    dying: bool
    shutdown: bool
    paused: bool
    blocked: bool
    running: bool
    shutdown_reason: int | None
    pids: dict[str, int]

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "DomainInfo":
        """From the map that the hypervisor answers with."""
        flags = raw["flags"]
        return cls(
            domid=raw["domid"],
            uuid=uuid_text(raw["handle"]),
            mem_pages=raw["tot_pages"],
            max_pages=raw["max_pages"],
            vcpus=raw["nr_online_vcpus"],
            cpu_seconds=raw["cpu_time"] / 1e9,
            dying=bool(flags.get("dying")),
            shutdown=bool(flags.get("shutdown")),
            paused=bool(flags.get("paused")),
            blocked=bool(flags.get("blocked")),
            running=bool(flags.get("running")),
            shutdown_reason=raw.get("shutdown_reason") if flags.get("shutdown") else None,
            pids=dict(raw["pids"]),
        )

    @property
    def crashed(self) -> bool:
        """Shut down for the reason "crash"."""
        return self.shutdown and self.shutdown_reason == 3

    @property
    def state(self) -> str:
        """The six letters of ``xl list``."""
        return state_letters(
            {
                "running": self.running,
                "blocked": self.blocked,
                "paused": self.paused,
                "shutdown": self.shutdown,
                "crashed": self.crashed,
                "dying": self.dying,
            }
        )


class Hypervisor:
    """What dom0's toolstack may ask of the hypervisor.  Every method raises HypercallError."""

    def __init__(self, dom: Domain) -> None:
        self._call = dom.hypercall.call
        self._ask = dom.hypercall.ask
        self._events = dom.events
        self._deferred = Deferred(dom.hypercall)

    def _domctl(self, cmd: int, *args: Any) -> list[Any]:
        return self._call(HYPERVISOR_domctl, cmd, *args)

    def create_domain(self, uuid: bytes, vcpus: int, max_vcpus: int, max_pages: int) -> int:
        """A new domain without memory, paused, that brings up *vcpus*; returns its number."""
        spec = {
            "handle": uuid,
            "max_vcpus": max_vcpus,
            "online_vcpus": vcpus,
            "max_pages": max_pages,
            "flags": 0,
        }
        return int(self._domctl(domctl.XEN_DOMCTL_createdomain, spec)[0])

    def populate(self, domid: int, pages: int) -> tuple[int, int]:
        """Give it memory; returns the frames of its store page and its console page."""
        frames = self._domctl(HVSIM_DOMCTL_populate, domid, pages)[0]
        return int(frames["store_gfn"]), int(frames["console_gfn"])

    def alloc_unbound(self, domid: int, remote: int) -> int:
        """A port of *domid* that *remote* may bind."""
        return self._events.alloc_unbound_for(domid, remote)

    def seed_grant(self, domid: int, ref: int, remote: int, gfn: int) -> None:
        """Make an entry in the domain's grant table before it runs."""
        self._domctl(HVSIM_DOMCTL_gnttab_seed, domid, ref, remote, gfn)

    def set_start_info(self, domid: int, info: Mapping[str, Any]) -> None:
        """What the domain is told at its birth."""
        self._domctl(HVSIM_DOMCTL_set_start_info, domid, dict(info))

    def load(self, domid: int, spec: Spawn) -> None:
        """What runs in it from its first unpause on."""
        self._domctl(HVSIM_DOMCTL_load, domid, write(spec))

    def max_mem(self, domid: int, pages: int) -> None:
        """What it may have at most."""
        self._domctl(domctl.XEN_DOMCTL_max_mem, domid, pages)

    async def pause(self, domid: int) -> None:
        """Stop it, and wait until it stands still; counted."""
        await self._deferred.call(HYPERVISOR_domctl, domctl.XEN_DOMCTL_pausedomain, domid)

    def unpause(self, domid: int) -> None:
        """Take one pause back."""
        self._domctl(domctl.XEN_DOMCTL_unpausedomain, domid)

    async def destroy(self, domid: int) -> None:
        """End it, and wait until its processes are gone.  It may stay as a zombie while a peer
        maps its pages."""
        await self._deferred.call(HYPERVISOR_domctl, domctl.XEN_DOMCTL_destroydomain, domid)

    def shutdown(self, domid: int, reason: int) -> None:
        """Mark it as shut down for *reason* (SHUTDOWN_*) without asking it."""
        self._call(HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, domid, reason)

    def vcpu(self, domid: int, vcpu: int) -> dict[str, Any]:
        """What a vCPU does and has done (XEN_DOMCTL_getvcpuinfo)."""
        found: dict[str, Any] = self._domctl(domctl.XEN_DOMCTL_getvcpuinfo, domid, vcpu)[0]
        return found

    def affinity(self, domid: int, vcpu: int) -> tuple[list[int], list[int]]:
        """The CPUs that a vCPU may run on, and those that it would like to."""
        hard, soft = self._domctl(domctl.XEN_DOMCTL_getvcpuaffinity, domid, vcpu)[:2]
        return list(hard), list(soft)

    def pin(self, domid: int, vcpu: int, hard: list[int] | None, soft: list[int] | None) -> None:
        """Set the CPUs that a vCPU may run on, those that it would like to, or both."""
        flags = (hard is not None) * domctl.XEN_VCPUAFFINITY_HARD
        flags |= (soft is not None) * domctl.XEN_VCPUAFFINITY_SOFT
        number = domctl.XEN_DOMCTL_setvcpuaffinity
        self._domctl(number, domid, vcpu, flags, hard or [], soft or [])

    def info(self, domid: int) -> DomainInfo | None:
        """One domain, None when there is none of that number."""
        try:
            return DomainInfo.of(self._domctl(domctl.XEN_DOMCTL_getdomaininfo, domid)[0])
        except HypercallError as error:
            if error.errno == errno.ESRCH:
                return None
            raise

    def domains(self) -> list[DomainInfo]:
        """All domains, by number."""
        return [DomainInfo.of(row) for row in self.domain_rows()]

    def domain_rows(self) -> list[dict[str, Any]]:
        """The same as the hypervisor answers it."""
        found: list[dict[str, Any]] = []
        first = 0
        while True:
            cmd = domctl.XEN_SYSCTL_getdomaininfolist
            rows = self._ask(list[dict[str, Any]], HYPERVISOR_sysctl, cmd, first, _LIST_CHUNK)
            found += rows
            if len(rows) < _LIST_CHUNK:
                return found
            first = found[-1]["domid"] + 1

    def console(self, clear: bool) -> str:
        """The hypervisor's own messages (``xl dmesg``)."""
        return self._ask(str, HYPERVISOR_sysctl, domctl.XEN_SYSCTL_readconsole, clear)

    def machine(self) -> MachineInfo:
        """The machine's size, and what is free (XEN_SYSCTL_physinfo)."""
        return self._ask(MachineInfo, HYPERVISOR_sysctl, domctl.XEN_SYSCTL_physinfo)

    def version(self) -> tuple[int, int, str]:
        """Major and minor number, and what follows them."""
        number = self._ask(int, HYPERVISOR_xen_version, XENVER_version)
        extra = self._ask(str, HYPERVISOR_xen_version, XENVER_extraversion)
        return number >> 16, number & 0xFFFF, extra

    def ledger(self, after: int, limit: int) -> list[dict[str, Any]]:
        """What was decided and why, from record *after* on."""
        kind = list[dict[str, Any]]
        return self._ask(kind, HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, after, limit)

    def ledger_seq(self) -> int:
        """The number of the newest record."""
        return self.machine()["ledger_seq"]

    def processes(self) -> list[ProcessInfo]:
        """Every process of every domain."""
        return self._ask(list[ProcessInfo], HYPERVISOR_sysctl, HVSIM_SYSCTL_processes)

    def spawn(self, domid: int, spec: Spawn) -> None:
        """Start one more process in a domain that runs; EEXIST while one has its name."""
        self._domctl(HVSIM_DOMCTL_spawn, domid, write(spec))

    def lend(self, domid: int, path: str, mode: str) -> None:
        """A file of the machine for a domain, to read ("r") or also to write ("w"); "": no more."""
        self._domctl(HVSIM_DOMCTL_lend, domid, path, mode)

    def note(self, kind: str, domid: int, text: str) -> None:
        """A line for the ledger and the console; *kind* is e.g. ``store.lost``."""
        self._call(HYPERVISOR_hvsim_op, HVSIM_OP_note, kind, domid, text)

    def fault(self, domid: int, process: str, action: str) -> int:
        """Kill, stall or resume a process ("" is the main one); returns its pid."""
        return int(self._domctl(HVSIM_DOMCTL_fault, domid, process, action)[0])

    def peek(self, domid: int, ref: int, offset: int, length: int) -> bytes:
        """Read a page that the domain granted, without mapping it."""
        return bytes(self._domctl(HVSIM_DOMCTL_peek, domid, ref, offset, length)[0])
