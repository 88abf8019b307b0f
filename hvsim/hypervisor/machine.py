"""The machine: every domain, frame and wire there is, and the rules that tie them together.

No I/O here: what must happen outside is asked of the :class:`~hvsim.hypervisor.host.Host`, and
what happened to processes is told to its :class:`~hvsim.hypervisor.births.Births` and
:class:`~hvsim.hypervisor.ends.Ends`.
"""

from collections.abc import Callable, Generator

from hvsim.abi.errno import EBUSY, EEXIST, EINVAL, ENOMEM, ENOSPC, EPERM, ESRCH
from hvsim.abi.event_channel import VIRQ_CON_RING, VIRQ_DOM_EXC, VIRQ_ENOMEM
from hvsim.abi.grant_table import GNTTAB_RESERVED_XENSTORE, MAX_ENTRIES_V1, MAX_FRAMES
from hvsim.abi.hypercall import DOMID_FIRST_RESERVED, DOMID_SELF
from hvsim.abi.sched import SHUTDOWN_watchdog
from hvsim.hypervisor.affinity import Affinity
from hvsim.hypervisor.bells import Bells
from hvsim.hypervisor.births import Births
from hvsim.hypervisor.clock_faults import ClockFaults
from hvsim.hypervisor.console import ConsoleRing
from hvsim.hypervisor.debug_keys import Dumps
from hvsim.hypervisor.domains import ALIVE, MAX_DOMAINS, Domain, DomainIds, Process
from hvsim.hypervisor.ends import Ends
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import MAX_PORTS, MAX_PORTS_DOM0, EventTable, Port
from hvsim.hypervisor.faults import Faults
from hvsim.hypervisor.grant_faults import GrantFaults
from hvsim.hypervisor.grants import GrantTable, Maptrack
from hvsim.hypervisor.heap import Heap
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.lockstep.port import Lockstep
from hvsim.hypervisor.low_memory import LowMemory
from hvsim.hypervisor.memory import DomainMemory, Extent
from hvsim.hypervisor.names import Names
from hvsim.hypervisor.pauses import Pauses
from hvsim.hypervisor.process_faults import ProcessFaults
from hvsim.hypervisor.reclaim import Reclaim
from hvsim.hypervisor.transfer import Transfers
from hvsim.hypervisor.vcpu import VCpu
from hvsim.hypervisor.watchdogs import Watchdogs
from hvsim.hypervisor.wires import Wires
from hvsim.hypervisor.work import SMALL, Work


class Machine:
    """The hypervisor's state and rules.

    Args:
        host: the world outside.
        memory_pages, nodes, cpus: the machine's size.
        mediated: whether every notify passes through the hypervisor from the start.

    Attributes:
        births, pauses, ends: of domains and their processes.
        faults: rules that break something on purpose.
        fallen: the main process of dom0, once its end has ended the machine.
        shortage: what the machine below had too little of, the last time that it refused something.
        watchdogs: timers that end a domain which does not set them anew.
        dumps: what debug keys print.
        work: what is too long to be done at once.
        reclaim: takes back what was given up.
        lockstep: what it is in, where one process runs at a time.
    """

    def __init__(
        self,
        host: Host,
        ledger: Ledger,
        memory_pages: int,
        nodes: int = 1,
        cpus: int = 1,
        mediated: bool = False,
    ) -> None:
        self.host = host
        self.ledger = ledger
        self.cpus = cpus
        self.heap = Heap(memory_pages, nodes)
        self.console = ConsoleRing()
        self.domains: dict[int, Domain] = {}
        self.processes: dict[int, Process] = {}
        self.wires = Wires(host, mediated)
        self.faults = Faults(host, ledger)
        self.work = Work(self._job_failed)
        self.ends = Ends(self)
        self.pauses = Pauses(self)
        self.births = Births(self, self.pauses, self.ends)
        ProcessFaults(host, self.faults, self.pauses, self.ends)
        ClockFaults(host, self.faults)
        self._bells = Bells(
            host, self.faults, self.work, self._resettle, self.domains, self.processes
        )
        self.wires.judges = self._bells.about
        self.reclaim = Reclaim(host, self.work, self.ends.swept)
        self.fallen: Process | None = None
        self.shortage = ""
        self.lockstep: Lockstep | None = None
        sound = Transfers(self.domains, ledger, self.ends.extent_released)
        self.transfers = sound
        GrantFaults(self, sound, self.ends.extent_released)
        self.watchdogs = Watchdogs(host, self._watchdog_fired)
        self.dumps = Dumps(self)
        self._low_memory = LowMemory(self.heap.total)
        self._ids = DomainIds()
        self._names = Names()
        self._next_extent = 1

    # -- looking up -------------------------------------------------------------------------

    def domain(self, domid: int, caller: Process) -> Domain:
        """The domain of a number, or the caller's own. Raises XenError(ESRCH)."""
        if domid == DOMID_SELF:
            return caller.domain
        domain = self.domains.get(domid)
        if domain is None:
            raise XenError(ESRCH)
        return domain

    def governed(self, domid: int, caller: Process) -> Domain:
        """A domain that the caller has rights over: any for dom0, else its target.

        Raises: XenError: EPERM, ESRCH. A domain without rights learns nothing about who exists.
        """
        own = caller.domain
        if not own.privileged and (own.target is None or own.target != domid):
            raise XenError(EPERM, f"d{own.domid} has no rights over d{domid}")
        return self.domain(domid, caller)

    @staticmethod
    def privileged(caller: Process) -> None:
        """Only dom0 may go on. Raises XenError(EPERM)."""
        if not caller.domain.privileged:
            raise XenError(EPERM, f"d{caller.domid} is not privileged")

    # -- building -----------------------------------------------------------------------------

    def create_domain(
        self, handle: bytes, max_vcpus: int, max_pages: int, flags: int, domid: int = 0
    ) -> Domain:
        """A new domain: no memory, no process, paused. Its number is *domid*, or the next (0).

        Raises XenError: ENOMEM, EEXIST."""
        if len(self.domains) >= MAX_DOMAINS:
            raise XenError(ENOMEM, f"{MAX_DOMAINS} domains is the limit")
        if domid in self.domains and domid:
            raise XenError(EEXIST, f"there is a domain {domid}")
        domid = domid or self._ids.take(self.domains, self._names)
        return self._new_domain(domid, handle, max_vcpus, max_pages, flags, False)

    def create_dom0(self, pages: int, max_vcpus: int, main: str) -> Domain:
        """dom0: privileged, running, with its store page and port. *main* names its kernel."""
        dom0 = self._new_domain(0, bytes(16), max_vcpus, pages, 0, True)
        dom0.memory.populate(self.heap.allocate(pages))
        dom0.pause_count = 0
        dom0.started = True
        store = self.make_extent(dom0, 1, None)
        table = self.grant_table(dom0)
        table.seed(GNTTAB_RESERVED_XENSTORE, 0, store.base_gfn)
        port = dom0.events.alloc_unbound(0, None)
        port.delivered = False
        dom0.start_info = {
            "store_gfn": store.base_gfn,
            "store_port": port.number,
            "console_gfn": 0,
            "console_port": 0,
            "flags": 3,  # SIF_PRIVILEGED | SIF_INITDOMAIN
            "cmd_line": "",
            "main": main,
        }
        return dom0

    def _new_domain(
        self, domid: int, handle: bytes, vcpus: int, pages: int, flags: int, privileged: bool
    ) -> Domain:
        ports = MAX_PORTS_DOM0 if privileged else MAX_PORTS
        domain = Domain(
            domid,
            handle,
            vcpus,
            pages,
            flags,
            self.host.now(),
            DomainMemory(domid, self._names),
            GrantTable(),
            Maptrack(),
            EventTable(domid, self.host.make_doorbell, self._names, ports),
            Affinity(vcpus, self.cpus),
            vcpus,
            [VCpu(self.host.now()) for _ in range(vcpus)],
            privileged,
        )
        self.domains[domid] = domain
        self.work.start(self.faults.born(domain))
        self.ledger.record("domain.created", domid, f"d{domid} created, {pages} pages at most")
        return domain

    def set_target(self, domain: Domain, other: Domain) -> None:
        """Give a domain rights over one other. Raises XenError(EINVAL) when it has a target."""
        if domain is other or domain.target is not None:
            raise XenError(EINVAL)
        domain.target = other.domid
        self._names.hold(other.domid)
        self.ledger.record(
            "domain.target",
            domain.domid,
            f"d{domain.domid} has rights over d{other.domid}",
            target=other.domid,
        )

    def fell(self, process: Process) -> None:
        """The main process of dom0 has ended, and the machine with it."""
        self.fallen = process

    def forget(self, domain: Domain) -> None:
        """The final release of a domain that has nothing left."""
        domid = domain.domid
        del self.domains[domid]
        domain.past.clear()  # they name the domain: nothing is left to a collector of cycles
        if domain.target is not None:
            self._names.drop(domain.target)
        self._bells.gone(domid)
        self.faults.gone(domain)
        self.console.forget(domid)
        self.watchdogs.forget(domid)
        self.ledger.record("domain.destroyed", domid, f"d{domid} is gone")
        self.ledger.forget(domid)
        self.host.forget(domid)
        self.raise_virq(VIRQ_DOM_EXC)

    def populate(self, domain: Domain, pages: int) -> Generator[None, None, dict[str, int]]:
        """Give a new domain its RAM, store page and console page. A job (``work``).

        Raises: XenError: EBUSY it has memory already, ENOMEM, EINVAL, ENOSPC; ESRCH it ended
            meanwhile; OSError.
        """
        if domain.memory.nr_pages or domain.dying != ALIVE:
            raise XenError(EBUSY)
        if pages < 2:
            raise XenError(EINVAL, "a domain has 2 pages at least: store and console")
        if pages > domain.max_pages:
            raise XenError(ENOMEM, f"{pages} pages are more than max_pages {domain.max_pages}")
        self.heap.claim(pages)
        left = pages
        try:
            while True:
                lent = self.heap.take_claimed(left, SMALL)
                domain.memory.populate(lent)
                left -= sum(count for _, count in lent)
                if not left:
                    break
                yield
                if domain.dying != ALIVE:
                    raise XenError(ESRCH, f"d{domain.domid} has ended meanwhile")
        finally:
            self.heap.unclaim(left)
        store = self.make_extent(domain, 1, None)
        console = self.make_extent(domain, 1, None)
        self.ledger.record("domain.populated", domain.domid, f"d{domain.domid}: {pages} pages")
        self.memory_taken()
        return {"store_gfn": store.base_gfn, "console_gfn": console.base_gfn}

    def when_room(
        self, domain: Domain, make: Callable[[], Extent]
    ) -> Generator[None, None, Extent]:
        """What *make* makes; when there is no room, once more when what the domain has given up
        was looked at. A job (``work``). Raises as *make*."""
        try:
            return make()
        except XenError as lack:
            if lack.errno not in (ENOMEM, ENOSPC) or not domain.memory.leaving:
                raise
        yield from self.reclaim.sweep(domain)
        return make()

    def make_extent(self, domain: Domain, nr_pages: int, token: int | None) -> Extent:
        """A grant extent out of a domain's RAM. Raises XenError as carve does; OSError."""
        base = domain.memory.carve(nr_pages)
        return self._back(domain, base, nr_pages, True, token)

    def extent_of(self, domain: Domain, gfn: int) -> Extent:
        """The extent that backs a frame; plain RAM becomes backed. Raises XenError(EINVAL)."""
        extent = domain.memory.extent_at(gfn)
        if extent is not None:
            return extent
        base, nr_pages = domain.memory.carve_around(gfn)
        return self._back(domain, base, nr_pages, False, None)

    def _back(
        self, domain: Domain, base: int, nr_pages: int, grantable: bool, token: int | None
    ) -> Extent:
        number = self._next_extent
        try:
            memory = self.host.make_memory(f"d{domain.domid}-extent{number}", nr_pages)
        except OSError:
            domain.memory.uncarve(base, nr_pages)
            raise
        self._next_extent += 1
        extent = Extent(number, domain.domid, base, nr_pages, memory, grantable, token)
        domain.memory.insert(extent)
        return extent

    def grant_table(self, domain: Domain) -> GrantTable:
        """A domain's grant table; the first who asks has its frames made. Raises OSError."""
        table = domain.grants
        if table.memory is None:
            memory = self.host.make_memory(f"d{domain.domid}-grants", MAX_FRAMES)
            memory.seal(False)
            table.attach(memory)
        return table

    def seed_grant(self, domain: Domain, ref: int, remote: int, gfn: int) -> None:
        """Write a grant entry for a domain being built. Raises XenError(EINVAL); OSError."""
        if not 0 <= ref < MAX_ENTRIES_V1 or not 0 <= remote < DOMID_FIRST_RESERVED:
            raise XenError(EINVAL)
        if domain.dying != ALIVE or domain.memory.machine_frame(gfn) is None:
            raise XenError(EINVAL, f"frame {gfn:#x} is not a frame of d{domain.domid}")
        self.grant_table(domain).seed(ref, remote, gfn)

    # -- events -------------------------------------------------------------------------------

    def open_port(self, port: Port, immediate: bool) -> Port:
        """A port was made: put it under the policy in force.

        *immediate* when its descriptors go with the reply. Raises OSError; the port is gone then.
        """
        try:
            self.wires.settle(port)
        except OSError:
            self.close_port(self.domains[port.domid], port.number)
            raise
        port.delivered = immediate
        if not immediate:
            self._news(port)
        return port

    def wired(self, port: Port) -> None:
        """A port was bound for the first time: its process gets its descriptors now.

        Raises OSError; the process has those of the direct wire then.
        """
        try:
            self.wires.settle(port)
        finally:
            self._news(port)

    def _news(self, port: Port) -> None:
        if port.token is not None:
            self.processes[port.token].upcall.ring()

    def close_port(self, domain: Domain, number: int) -> None:
        """Close a port. Raises XenError(EINVAL)."""
        self.wires.closing(domain.events.port(number))
        self._bells.port_closed(domain.domid, number)
        domain.events.close(number)

    def _resettle(self, port: Port) -> None:
        """Rules about a port have come or gone.  Raises OSError, the port is as before then."""
        if self.wires.settle(port):
            self._news(port)

    def raise_virq(self, virq: int) -> None:
        """Ring a global virtual interrupt of dom0."""
        dom0 = self.domains.get(0)
        if dom0 is not None:
            dom0.events.raise_virq(virq)

    def memory_taken(self) -> None:
        """Frames were lent: dom0 is told when few are left."""
        if self._low_memory.taken(self.heap.free):
            self.raise_virq(VIRQ_ENOMEM)

    def _watchdog_fired(self, domid: int) -> None:
        domain = self.domains.get(domid)
        if domain is None or domain.dying != ALIVE or domain.shutdown_code is not None:
            return
        self.say(f"Watchdog timer fired for domain {domid}")
        self.ends.shutdown(domain, SHUTDOWN_watchdog, False)

    def _job_failed(self, error: Exception) -> None:
        """A bug of ours: a piece of work was left undone."""
        self.ledger.record("work.failed", -1, f"BUG: {error!r}")
        self.host.complain(error)

    def say(self, text: str) -> None:
        """A line for ``xl dmesg``."""
        self.console.xen(text)
        self.raise_virq(VIRQ_CON_RING)
