"""The machine: every domain, frame and wire there is, and the rules that tie them together.

No I/O here: what must happen outside is asked of the :class:`~hvsim.hypervisor.host.Host`, and
what happened outside is told by ``process_spawned``, ``process_failed`` and ``process_gone``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from hvsim.abi.errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENOMEM, EPERM, ESRCH
from hvsim.abi.event_channel import VIRQ_CON_RING, VIRQ_DOM_EXC
from hvsim.abi.grant_table import GNTTAB_RESERVED_XENSTORE, MAX_ENTRIES_V1, MAX_FRAMES
from hvsim.abi.hypercall import DOMID_FIRST_RESERVED, DOMID_SELF
from hvsim.abi.sched import SHUTDOWN_NAMES, SHUTDOWN_crash
from hvsim.hypervisor.console import ConsoleRing
from hvsim.hypervisor.domains import ALIVE, DEAD, DYING, MAX_DOMAINS, Domain, DomainIds, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import MAX_PORTS, MAX_PORTS_DOM0, EventTable, Port
from hvsim.hypervisor.grants import GrantTable, Maptrack
from hvsim.hypervisor.heap import Heap
from hvsim.hypervisor.host import Doorbell, Host
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.memory import DomainMemory, Extent
from hvsim.hypervisor.transfer import Transfers
from hvsim.hypervisor.wires import Wires

SIGKILL: Final = 9
SIGCONT: Final = 18
SIGSTOP: Final = 19

SHUTDOWN_GRACE: Final = 2_000_000_000
"""Nanoseconds that a process has to end by itself after SCHEDOP_shutdown."""
DESTROY_TIMEOUT: Final = 5_000_000_000
"""Nanoseconds until destroydomain gives up waiting for a killed process, with -EAGAIN."""
MAX_PROCESSES: Final = 64
"""Processes of one domain."""
MAX_DOM0_PAGES_DEFAULT: Final = 131072


@dataclass(frozen=True, slots=True)
class Deferred:
    """The answer to a call comes later, through ``Host.reply``."""


DEFERRED: Final = Deferred()


class Machine:
    """The hypervisor's state and rules.

    Args:
        host: the world outside.
        memory_pages, nodes, cpus: the machine's size.
        mediated: whether every notify passes through the hypervisor from the start.
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
        self.wires = Wires(host, ledger, mediated)
        self.transfers = Transfers(self.domains, ledger, self._extent_released)
        self._ids = DomainIds()
        self._next_extent = 1
        self._next_token = 1

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

    def create_domain(self, handle: bytes, max_vcpus: int, max_pages: int, flags: int) -> Domain:
        """A new domain: no memory, no process, paused. Raises XenError(ENOMEM)."""
        if len(self.domains) >= MAX_DOMAINS:
            raise XenError(ENOMEM, f"{MAX_DOMAINS} domains is the limit")
        domid = self._ids.take(self._mentioned())
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
            DomainMemory(domid),
            GrantTable(),
            Maptrack(),
            EventTable(domid, self.host.make_doorbell, ports),
            privileged,
        )
        self.domains[domid] = domain
        self.ledger.record("domain.created", domid, f"d{domid} created, {pages} pages at most")
        return domain

    def _mentioned(self) -> set[int]:
        """Domain numbers that are alive or still named by a port, an extent or a right."""
        named = set(self.domains)
        for domain in self.domains.values():
            named.update(port.remote for port in domain.events.ports.values())
            named.update(
                extent.peer for extent in domain.memory.extents.values() if extent.peer is not None
            )
            if domain.target is not None:
                named.add(domain.target)
        return named

    def populate(self, domain: Domain, pages: int) -> dict[str, int]:
        """Give a new domain its RAM, store page and console page.

        Raises: XenError: EBUSY it has memory already, ENOMEM, EINVAL, ENOSPC; OSError.
        """
        if domain.memory.nr_pages or domain.dying != ALIVE:
            raise XenError(EBUSY)
        if pages < 2:
            raise XenError(EINVAL, "a domain has 2 pages at least: store and console")
        if pages > domain.max_pages:
            raise XenError(ENOMEM, f"{pages} pages are more than max_pages {domain.max_pages}")
        domain.memory.populate(self.heap.allocate(pages))
        store = self.make_extent(domain, 1, None)
        console = self.make_extent(domain, 1, None)
        self.ledger.record("domain.populated", domain.domid, f"d{domain.domid}: {pages} pages")
        return {"store_gfn": store.base_gfn, "console_gfn": console.base_gfn}

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
        if not immediate and port.token is not None:
            self.processes[port.token].upcall.ring()
        return port

    def close_port(self, domain: Domain, number: int) -> None:
        """Close a port. Raises XenError(EINVAL)."""
        self.wires.closing(domain.events.port(number))
        domain.events.close(number)

    def resettle(self) -> int:
        """Bring every port in line with changed policies; returns how many were swapped."""
        swapped = 0
        owners: set[int] = set()
        for domain in self.domains.values():
            for port in domain.events.ports.values():
                if self.wires.settle(port):
                    swapped += 1
                    if port.token is not None:
                        owners.add(port.token)
        for token in owners:
            self.processes[token].upcall.ring()
        return swapped

    def raise_virq(self, virq: int) -> None:
        """Ring a global virtual interrupt of dom0."""
        dom0 = self.domains.get(0)
        if dom0 is not None:
            dom0.events.raise_virq(virq)

    # -- running ------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """A line for ``xl dmesg``."""
        self.console.xen(text)
        self.raise_virq(VIRQ_CON_RING)

    def load(self, domain: Domain, spec: dict[str, Any]) -> None:
        """Say how the main process of a domain is made. Raises XenError(EBUSY)."""
        if domain.started or domain.dying != ALIVE:
            raise XenError(EBUSY)
        domain.spec = {**spec, "domid": domain.domid}

    def spawn(self, domain: Domain, spec: dict[str, Any], main: bool) -> Process:
        """Make a process in a domain.

        Raises: XenError: EBUSY the domain is ending, EEXIST the name is taken, ENOMEM too many;
            OSError.
        """
        name = spec.get("process")
        if not isinstance(name, str) or not name:
            name = "main"
        if domain.dying != ALIVE or domain.shutdown_code is not None:
            raise XenError(EBUSY)
        if domain.process(name) is not None:
            raise XenError(EEXIST, f"d{domain.domid} has a process {name!r}")
        if len(domain.processes) >= MAX_PROCESSES:
            raise XenError(ENOMEM, f"{MAX_PROCESSES} processes of one domain is the limit")
        upcall: Doorbell = self.host.make_doorbell()
        token = self._next_token
        self._next_token += 1
        process = Process(token, domain, name, main, upcall)
        try:
            self.host.spawn(token, {**spec, "domid": domain.domid, "process": name}, upcall)
        except OSError:
            upcall.close()
            raise
        self.processes[token] = domain.processes[token] = process
        if main:
            for port in domain.events.ports.values():
                if port.token is None:
                    port.token = token
        return process

    def pause(self, domain: Domain) -> None:
        """Counted, as in Xen."""
        domain.pause_count += 1
        self._apply_pause(domain)

    def unpause(self, domain: Domain) -> None:
        """Counted; at 0 a loaded domain starts, a started one goes on.

        Raises: XenError(EINVAL) when it is not paused; OSError.
        """
        if domain.pause_count == 0:
            raise XenError(EINVAL)
        if (
            domain.pause_count == 1
            and domain.spec is not None
            and not domain.started
            and domain.dying == ALIVE
            and domain.shutdown_code is None
        ):
            self.spawn(domain, domain.spec, True)
            domain.started = True
        domain.pause_count -= 1
        self._apply_pause(domain)

    def stall(self, process: Process, stalled: bool) -> None:
        """A fault: stop one process, or let it go on."""
        process.stalled = stalled
        self._apply_stop(process)

    def _apply_pause(self, domain: Domain) -> None:
        for process in domain.processes.values():
            self._apply_stop(process)

    def _apply_stop(self, process: Process) -> None:
        wanted = process.stalled or process.domain.pause_count > 0
        if wanted != process.stopped and process.pid and not process.gone:
            process.stopped = wanted
            self.host.signal(process.token, SIGSTOP if wanted else SIGCONT)

    # -- ending ---------------------------------------------------------------------------------

    def shutdown(self, domain: Domain, code: int, grace: bool) -> None:
        """A domain stops, for the reason *code*. It has stopped when its processes are gone.

        *grace*: it said so itself, and may take a moment for its exit.
        """
        if domain.shutdown_code is not None or domain.dying != ALIVE:
            return
        domain.shutdown_code = code
        why = SHUTDOWN_NAMES.get(code, str(code))
        self.ledger.record("domain.stopping", domain.domid, f"d{domain.domid}: {why}", code=code)
        if domain.privileged:
            text = f"Hardware Dom0 shutdown: {why}"
            self.say(text)
            self.host.halt(0 if code != SHUTDOWN_crash else 1, text)
            return
        if code == SHUTDOWN_crash:
            self.say(f"Domain {domain.domid} (vcpu#0) crashed on cpu#0:")
        if grace and domain.processes:
            self.host.call_later(SHUTDOWN_GRACE, lambda: self._kill(domain))
        else:
            self._kill(domain)
        self._advance(domain)

    def _kill(self, domain: Domain) -> None:
        for process in domain.processes.values():
            self.host.signal(process.token, SIGKILL)

    def destroy(self, domain: Domain, caller: Process) -> Deferred | None:
        """End a domain. Its processes are killed; what they held is released when they are gone.

        Returns None when that is so, DEFERRED when it will be: the caller is answered then, or
        with -EAGAIN after DESTROY_TIMEOUT. Raises XenError(EINVAL) for the caller's own domain.
        """
        if domain is caller.domain:
            raise XenError(EINVAL)
        if domain.dying == ALIVE:
            domain.dying = DYING
            self.ledger.record("domain.dying", domain.domid, f"d{domain.domid} is destroyed")
            self._kill(domain)
            self._advance(domain)
        if domain.dying != DYING:
            return None
        domain.killers.append(caller.token)

        def give_up() -> None:
            if domain.dying == DYING and caller.token in domain.killers:
                domain.killers.remove(caller.token)
                self.host.reply(caller.token, [-EAGAIN])

        self.host.call_later(DESTROY_TIMEOUT, give_up)
        return DEFERRED

    def _advance(self, domain: Domain) -> None:
        """What can follow once a domain's processes are gone."""
        if domain.processes:
            return
        if domain.dying == DYING:
            self._tear_down(domain)
        elif domain.shutdown_code is not None and not domain.shut_down:
            domain.shut_down = True
            why = SHUTDOWN_NAMES.get(domain.shutdown_code, str(domain.shutdown_code))
            self.ledger.record(
                "domain.shutdown",
                domain.domid,
                f"d{domain.domid} has stopped: {why}",
                code=domain.shutdown_code,
            )
            self.raise_virq(VIRQ_DOM_EXC)

    def _tear_down(self, domain: Domain) -> None:
        """No process is left: give up everything that no peer maps."""
        for number in list(domain.events.ports):
            self.close_port(domain, number)
        table = domain.grants.detach()
        if table is not None:
            table.close()
        domain.dying = DEAD
        self._release_frames(domain)
        if domain.memory.extents:
            pinned = sorted({e.peer for e in domain.memory.extents.values() if e.peer is not None})
            self.ledger.record(
                "domain.zombie",
                domain.domid,
                f"d{domain.domid} is a zombie: {domain.memory.nr_pages} pages are mapped by "
                + ", ".join(f"d{peer}" for peer in pinned),
            )
        killers, domain.killers = domain.killers, []
        self.raise_virq(VIRQ_DOM_EXC)
        for token in killers:
            self.host.reply(token, [0])

    def _release_frames(self, domain: Domain) -> None:
        self.heap.release(domain.memory.relinquish())
        self.heap.scrub()
        if not domain.memory.extents:
            self._forget(domain)

    def _forget(self, domain: Domain) -> None:
        """The final release."""
        domid = domain.domid
        del self.domains[domid]
        self.wires.forget(domid)
        self.console.forget(domid)
        self.ledger.record("domain.destroyed", domid, f"d{domid} is gone")
        self.ledger.forget(domid)
        self.raise_virq(VIRQ_DOM_EXC)

    def _extent_released(self, domain: Domain, extent: Extent) -> None:
        """A peer let go of the last page of an extent."""
        if domain.dying == DEAD:
            self._release_frames(domain)
        elif extent.orphan:
            domain.memory.remove(extent)

    # -- what the host tells ----------------------------------------------------------------------

    def process_spawned(self, token: int, pid: int, missing: list[str]) -> None:
        """A process runs."""
        process = self.processes[token]
        process.pid = pid
        process.missing = missing
        self.ledger.record(
            "process.spawned",
            process.domid,
            f"d{process.domid} {process.name}: pid {pid}"
            + (f", walls missing: {', '.join(missing)}" if missing else ""),
            pid=pid,
            process=process.name,
        )
        domain = process.domain
        if domain.dying != ALIVE or domain.shutdown_code is not None:
            self.host.signal(token, SIGKILL)
        else:
            self._apply_stop(process)

    def process_failed(self, token: int, text: str) -> None:
        """A process could not be made."""
        process = self.processes[token]
        self.ledger.record(
            "process.failed", process.domid, f"d{process.domid} {process.name}: {text}"
        )
        self.say(f"d{process.domid}: cannot start {process.name}: {text}")
        self.process_gone(token, None)

    def process_gone(self, token: int, status: int | None) -> None:
        """A process is really gone: nothing it could still write is on its way.

        Its mappings end, its ports close; if it was the domain's main one, the domain stops.
        """
        process = self.processes.pop(token)
        domain = process.domain
        process.gone = True
        domain.cpu_time += self.host.cpu_time(token) or 0
        del domain.processes[token]
        domain.past.append(process)
        released = self.transfers.release_process(process)
        for port in domain.events.of_process(token):
            self.close_port(domain, port.number)
        process.upcall.close()
        self.ledger.record(
            "process.gone",
            domain.domid,
            f"d{domain.domid} {process.name} (pid {process.pid}) is gone, "
            f"{released} mappings released",
            pid=process.pid,
            process=process.name,
            status=status,
        )
        if domain.dying == ALIVE:
            if process.main and domain.shutdown_code is None:
                self.shutdown(domain, SHUTDOWN_crash, False)
            elif domain.shutdown_code is None:
                self._orphan_extents(domain, token)
        self._advance(domain)

    def _orphan_extents(self, domain: Domain, token: int) -> None:
        """A process of a living domain has gone: so do the extents made for it."""
        for extent in [e for e in domain.memory.extents.values() if e.token == token]:
            domain.grants.revoke_frames(extent.base_gfn, extent.nr_pages)
            if extent.pins:
                extent.orphan = True
            else:
                domain.memory.remove(extent)

    # -- telling ----------------------------------------------------------------------------------

    def domain_cpu_time(self, domain: Domain) -> int:
        """Nanoseconds that the domain's processes have used, the gone ones included."""
        alive = (self.host.cpu_time(token) or 0 for token in domain.processes)
        return domain.cpu_time + sum(alive)

    def domain_info(self, domain: Domain) -> dict[str, Any]:
        """What getdomaininfo answers."""
        stopped = domain.shut_down or domain.dying != ALIVE or domain.pause_count > 0
        running = not stopped and any(self.host.running(token) for token in domain.processes)
        return {
            "domid": domain.domid,
            "flags": {
                "dying": domain.dying != ALIVE,
                "shutdown": domain.shut_down,
                "paused": domain.pause_count > 0,
                "blocked": not stopped and not running,
                "running": running,
                "crashed": domain.shut_down and domain.shutdown_code == SHUTDOWN_crash,
                "privileged": domain.privileged,
            },
            "shutdown_reason": domain.shutdown_code if domain.shut_down else None,
            "tot_pages": domain.memory.nr_pages,
            "max_pages": domain.max_pages,
            "cpu_time": self.domain_cpu_time(domain),
            "max_vcpus": domain.max_vcpus,
            "nr_online_vcpus": domain.max_vcpus if domain.dying == ALIVE else 0,
            "handle": domain.handle,
            "pids": {process.name: process.pid for process in domain.processes.values()},
            "create_flags": domain.flags,
            "target": domain.target,
        }

    def process_list(self) -> Iterator[dict[str, Any]]:
        """Every process of every domain, and the last that are gone of those there are."""
        past = [process for domain in self.domains.values() for process in domain.past]
        for process in (*self.processes.values(), *past):
            yield {
                "domid": process.domid,
                "process": process.name,
                "pid": process.pid,
                "missing": process.missing,
                "alive": bool(process.pid) and not process.gone,
                "stalled": process.stalled,
            }
