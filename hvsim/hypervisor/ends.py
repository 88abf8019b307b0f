"""How processes and domains end: shutdown, destroy, death, and the release of what they held.

The host tells what happened outside: ``process_gone``, ``process_exited``.  Source of the rules:
domain_shutdown, domain_kill and complete_domain_destroy in Xen's common/domain.c.
"""

from typing import Final

from hvsim.abi.errno import EAGAIN, EINVAL
from hvsim.abi.event_channel import VIRQ_DOM_EXC
from hvsim.abi.sched import SHUTDOWN_NAMES, SHUTDOWN_crash, SHUTDOWN_watchdog
from hvsim.hypervisor import runstates
from hvsim.hypervisor.domains import ALIVE, DEAD, DYING, Domain, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.late import DEFERRED, Deferred
from hvsim.hypervisor.memory import Extent
from hvsim.hypervisor.port import Estate
from hvsim.hypervisor.reclaim import FIRST_LOOK
from hvsim.hypervisor.work import SMALL, Job, pieces

SIGKILL: Final = 9
SHUTDOWN_GRACE: Final = 2_000_000_000
"""Nanoseconds that a process has to end by itself after SCHEDOP_shutdown."""
DESTROY_TIMEOUT: Final = 5_000_000_000
"""Nanoseconds until destroydomain gives up waiting for a killed process, with -EAGAIN."""
ENTRIES: Final = 512
"""Grant entries that are looked through in one piece of work."""


class Ends:
    """Ends domains, and releases what a process or a domain that is gone has held."""

    def __init__(self, estate: Estate) -> None:
        self._port = estate

    def shutdown(self, domain: Domain, code: int, grace: bool) -> None:
        """A domain stops, for the reason *code*. It has stopped when its processes are gone.

        *grace*: it said so itself, and may take a moment for its exit.
        """
        if domain.shutdown_code is not None or domain.dying != ALIVE:
            return
        domain.shutdown_code = code
        why = SHUTDOWN_NAMES.get(code, str(code))
        self._port.ledger.record(
            "domain.stopping", domain.domid, f"d{domain.domid}: {why}", code=code
        )
        if domain.privileged:
            text = f"Hardware Dom0 shutdown: {why}"
            if code == SHUTDOWN_watchdog:
                text += " rebooting machine"
            self._port.say(text)
            self._port.host.halt(0 if code != SHUTDOWN_crash else 1, text)
            return
        if code == SHUTDOWN_crash:
            self._port.say(f"Domain {domain.domid} (vcpu#0) crashed on cpu#0:")
        if grace and domain.processes:
            self._port.host.call_later(SHUTDOWN_GRACE, lambda: self._kill(domain))
        else:
            self._kill(domain)
        self._advance(domain)

    def _kill(self, domain: Domain) -> None:
        for process in domain.processes.values():
            self._port.host.signal(process.token, SIGKILL)

    def destroy(self, domain: Domain, caller: Process) -> Deferred | None:
        """End a domain. Its processes are killed; what they held is released when they are gone.

        Returns None when that is so, DEFERRED when it will be: the caller is answered then, or
        with -EAGAIN after DESTROY_TIMEOUT. Raises XenError(EINVAL) for the caller's own domain.
        """
        if domain is caller.domain:
            raise XenError(EINVAL)
        if domain.dying == ALIVE:
            domain.dying = DYING
            self._port.ledger.record("domain.dying", domain.domid, f"d{domain.domid} is destroyed")
            self._kill(domain)
            self._advance(domain)
        if domain.dying != DYING:
            return None
        address = caller.address
        domain.killers.append(address)

        def give_up() -> None:
            if domain.dying == DYING and address in domain.killers:
                domain.killers.remove(address)
                self._port.host.reply(address, [-EAGAIN])

        self._port.host.call_later(DESTROY_TIMEOUT, give_up)
        return DEFERRED

    def _advance(self, domain: Domain) -> None:
        """What can follow once a domain's processes are gone."""
        if domain.processes:
            return
        if domain.dying == DYING:
            if not domain.closing:
                domain.closing = True
                self._port.work.start(self._tear_down(domain))
        elif domain.shutdown_code is not None and not domain.shut_down:
            domain.shut_down = True
            why = SHUTDOWN_NAMES.get(domain.shutdown_code, str(domain.shutdown_code))
            self._port.ledger.record(
                "domain.shutdown",
                domain.domid,
                f"d{domain.domid} has stopped: {why}",
                code=domain.shutdown_code,
            )
            self._port.raise_virq(VIRQ_DOM_EXC)

    def _tear_down(self, domain: Domain) -> Job:
        """No process is left: give up everything that no peer maps or holds."""
        memory, port = domain.memory, self._port
        for pause, ports in pieces(list(domain.events.ports)):
            if pause:
                yield
            for number in ports:
                port.close_port(domain, number)
        table = domain.grants.detach()
        if table is not None:
            table.close()
        for file in domain.lent.values():
            file.close()
        domain.lent.clear()
        domain.dying = DEAD
        for pause, extents in pieces(list(memory.extents.values())):
            if pause:
                yield
            for extent in extents:
                if not extent.pins and not extent.leaving:
                    memory.give_up(extent)
        domain.patience = FIRST_LOOK
        yield from port.reclaim.sweep(domain)
        if memory.nr_pages:
            kept = (*memory.extents.values(), *memory.leaving.values())
            named = {extent.peer for extent in kept if extent.peer is not None}
            peers = ", ".join(f"d{peer}" for peer in sorted(named))
            port.ledger.record(
                "domain.zombie",
                domain.domid,
                f"d{domain.domid} is a zombie: {memory.nr_pages} pages are mapped or held"
                + (f" by {peers}" if peers else ""),
            )
        killers, domain.killers = domain.killers, []
        port.raise_virq(VIRQ_DOM_EXC)
        for address in killers:
            port.host.reply(address, [0])

    def swept(self, domain: Domain) -> Job:
        """What a domain has given up was looked at: a dead one returns its frames."""
        if domain.dying != DEAD or domain.domid not in self._port.domains:
            return
        heap = self._port.heap
        freed = yield from domain.memory.relinquish()
        for pause, runs in pieces(freed):
            if pause:
                yield
            heap.release(runs)
        while heap.scrub(most=SMALL) and heap.dirty:
            yield
        if not domain.memory.nr_pages:
            self._port.forget(domain)

    def extent_released(self, domain: Domain, extent: Extent) -> None:
        """A peer let go of the last page of an extent."""
        if domain.dying == DEAD or extent.orphan:
            domain.memory.give_up(extent)
            self._port.reclaim.look(domain)

    def process_gone(self, token: int, status: int | None) -> None:
        """A process is really gone: nothing it could still write is on its way.

        Its mappings end, its ports close; if it was the domain's main one, the domain stops.
        """
        process = self._port.processes[token]
        process.gone = True
        runstates.ended(self._port.host, process)
        self._port.work.start(self._bury(process, status))

    def _bury(self, process: Process, status: int | None) -> Job:
        """Release what a process held; then nothing knows of it any more."""
        domain, token = process.domain, process.token
        released = yield from self._port.transfers.release_process(process)
        for pause, ports in pieces(list(domain.events.of_process(token))):
            if pause:
                yield
            for number in ports:
                self._port.close_port(domain, number)
        domain.events.forget(token)
        del self._port.processes[token], domain.processes[token]
        domain.past.append(process)
        process.close()
        self._port.ledger.record(
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
                if domain.privileged:
                    self._port.fell(process)
                self.shutdown(domain, SHUTDOWN_crash, False)
            elif domain.shutdown_code is None:
                yield from self._orphan_extents(domain, token)
        self._advance(domain)

    def process_exited(self, pid: int, status: int) -> None:
        """How a process ended, which may be told before or after that it is gone."""
        past = (process for domain in self._port.domains.values() for process in domain.past)
        for process in (*self._port.processes.values(), *past):
            if process.pid == pid and process.status is None:
                process.status = status

    def _orphan_extents(self, domain: Domain, token: int) -> Job:
        """A process of a living domain has gone: so do the extents made for it."""
        memory = domain.memory
        orphans = [e for e in memory.extents.values() if e.token == token]
        if not orphans:
            return
        for extent in orphans:
            extent.orphan = True

        def orphaned(gfn: int) -> bool:
            extent = memory.extent_at(gfn)
            return extent is not None and extent.orphan

        first = 0
        while domain.grants.revoke(first, ENTRIES, orphaned):
            first += ENTRIES
            yield
        for extent in orphans:
            if not extent.pins and not extent.leaving:
                memory.give_up(extent)
        self._port.reclaim.look(domain)
