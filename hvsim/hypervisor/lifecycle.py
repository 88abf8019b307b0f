"""Domains and their processes through time: start, pause, shutdown, death, final release.

The host tells it what happened outside: ``process_spawned``, ``process_failed``,
``process_gone``. Source of the rules: Xen's common/domain.c (domain_pause, domain_shutdown,
domain_kill, complete_domain_destroy).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hvsim.abi.cpumask import numbers
from hvsim.abi.errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENOMEM
from hvsim.abi.event_channel import VIRQ_DOM_EXC
from hvsim.abi.sched import SHUTDOWN_NAMES, SHUTDOWN_crash, SHUTDOWN_watchdog
from hvsim.hypervisor.domains import ALIVE, DEAD, DYING, Domain, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Doorbell
from hvsim.hypervisor.memory import Extent
from hvsim.hypervisor.reclaim import FIRST_LOOK
from hvsim.hypervisor.work import SMALL, Job, pieces

if TYPE_CHECKING:
    from hvsim.hypervisor.machine import Machine

SIGKILL: Final = 9
SIGCONT: Final = 18
SIGSTOP: Final = 19

SHUTDOWN_GRACE: Final = 2_000_000_000
"""Nanoseconds that a process has to end by itself after SCHEDOP_shutdown."""
DESTROY_TIMEOUT: Final = 5_000_000_000
"""Nanoseconds until destroydomain gives up waiting for a killed process, with -EAGAIN."""
STOP_TIMEOUT: Final = 5_000_000_000
"""Nanoseconds until pausedomain gives up waiting for a process to stop, with -EAGAIN."""
STOP_LOOKS: Final = (50_000, 2_000_000)
"""Nanoseconds between two looks whether a process has stopped: at first, and at most."""
MAX_PROCESSES: Final = 64
"""Processes of one domain."""
ENTRIES: Final = 512
"""Grant entries that are looked through in one piece of work."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """The answer to a call comes later, through ``Host.reply``."""


DEFERRED: Final = Deferred()


class Lifecycle:
    """What brings the domains of a machine from one state to the next."""

    def __init__(self, machine: "Machine") -> None:
        self._machine = machine
        self._next_token = 1

    # -- running ------------------------------------------------------------------------------

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
        if spec.get("exec") and not domain.privileged:
            host = domain.main
            if host is None or not host.pid:
                raise XenError(EBUSY, f"d{domain.domid} has no main process yet")
            spec = {**spec, "join": host.pid}
        upcall: Doorbell = self._machine.host.make_doorbell()
        token = self._next_token
        self._next_token += 1
        process = Process(token, domain, name, main, upcall)
        try:
            self._machine.host.spawn(
                token, {**spec, "domid": domain.domid, "process": name}, upcall
            )
        except OSError:
            upcall.close()
            raise
        self._machine.processes[token] = domain.processes[token] = process
        if main:
            for port in list(domain.events.of_process(None).values()):
                domain.events.give(port, token)
        return process

    def pause(self, domain: Domain, caller: Process) -> Deferred | None:
        """Counted, as in Xen; done when nothing of the domain runs any more.

        A signal takes a moment to stop a process. Returns None when all have stopped, DEFERRED
        when they will: the caller is answered then. One that does not stop within STOP_TIMEOUT
        (it sits in the kernel) makes the answer -EAGAIN, and the pause is taken back.
        """
        domain.pause_count += 1
        self._apply_pause(domain)

        def stopped() -> bool:
            over = domain.dying != ALIVE or domain.pause_count == 0
            return over or all(self._stands_still(one) for one in domain.processes.values())

        def take_back() -> None:
            domain.pause_count -= 1
            self._apply_pause(domain)

        return self._answer_when(stopped, caller, [0], take_back)

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

    def stall(self, process: Process, caller: Process) -> Deferred | None:
        """A fault: stop one process, whatever its domain's pause count. Answered as a pause is,
        with the pid."""
        process.stalled = True
        self._apply_stop(process)
        return self._answer_when(
            lambda: not process.stalled or self._stands_still(process),
            caller,
            [0, process.pid],
            lambda: self.resume(process),
        )

    def resume(self, process: Process) -> None:
        """Let a stalled process go on, unless its domain is paused."""
        process.stalled = False
        self._apply_stop(process)

    def place(self, domain: Domain) -> Job:
        """Let the processes of a domain run where the affinity of its vCPU 0 says. A job."""
        for pause, [process] in pieces(list(domain.processes.values()), 1):
            if pause:
                yield
            yield from self._place(process)

    def _place(self, process: Process) -> Job:
        if process.pid and not process.gone:
            cpus = numbers(process.domain.affinity.hard[0])
            yield from self._machine.host.place(process.token, cpus, self._machine.cpus)

    def _stands_still(self, process: Process) -> bool:
        """Whether a process runs no instruction of its own. One that is being made will."""
        return process.gone or (bool(process.pid) and self._machine.host.stopped(process.token))

    def _answer_when(
        self,
        stopped: Callable[[], bool],
        caller: Process,
        answer: list[Any],
        take_back: Callable[[], None],
    ) -> Deferred | None:
        """None when something has stopped; else DEFERRED, and *answer* goes to the caller when it
        has, or -EAGAIN after STOP_TIMEOUT."""
        if stopped():
            return None
        host, address = self._machine.host, caller.address
        first, most = STOP_LOOKS
        deadline = host.now() + STOP_TIMEOUT

        def look(delay: int) -> None:
            if stopped():
                host.reply(address, answer)
            elif host.now() >= deadline:
                take_back()
                host.reply(address, [-EAGAIN])
            else:
                host.call_later(delay, lambda: look(min(2 * delay, most)))

        host.call_later(first, lambda: look(2 * first))
        return DEFERRED

    def _apply_pause(self, domain: Domain) -> None:
        for process in domain.processes.values():
            self._apply_stop(process)

    def _apply_stop(self, process: Process) -> None:
        wanted = process.stalled or process.domain.pause_count > 0
        if wanted != process.stopped and process.pid and not process.gone:
            process.stopped = wanted
            self._machine.host.signal(process.token, SIGSTOP if wanted else SIGCONT)

    # -- ending ---------------------------------------------------------------------------------

    def shutdown(self, domain: Domain, code: int, grace: bool) -> None:
        """A domain stops, for the reason *code*. It has stopped when its processes are gone.

        *grace*: it said so itself, and may take a moment for its exit.
        """
        if domain.shutdown_code is not None or domain.dying != ALIVE:
            return
        domain.shutdown_code = code
        why = SHUTDOWN_NAMES.get(code, str(code))
        self._machine.ledger.record(
            "domain.stopping", domain.domid, f"d{domain.domid}: {why}", code=code
        )
        if domain.privileged:
            text = f"Hardware Dom0 shutdown: {why}"
            if code == SHUTDOWN_watchdog:
                text += " rebooting machine"
            self._machine.say(text)
            self._machine.host.halt(0 if code != SHUTDOWN_crash else 1, text)
            return
        if code == SHUTDOWN_crash:
            self._machine.say(f"Domain {domain.domid} (vcpu#0) crashed on cpu#0:")
        if grace and domain.processes:
            self._machine.host.call_later(SHUTDOWN_GRACE, lambda: self._kill(domain))
        else:
            self._kill(domain)
        self._advance(domain)

    def _kill(self, domain: Domain) -> None:
        for process in domain.processes.values():
            self._machine.host.signal(process.token, SIGKILL)

    def destroy(self, domain: Domain, caller: Process) -> Deferred | None:
        """End a domain. Its processes are killed; what they held is released when they are gone.

        Returns None when that is so, DEFERRED when it will be: the caller is answered then, or
        with -EAGAIN after DESTROY_TIMEOUT. Raises XenError(EINVAL) for the caller's own domain.
        """
        if domain is caller.domain:
            raise XenError(EINVAL)
        if domain.dying == ALIVE:
            domain.dying = DYING
            self._machine.ledger.record(
                "domain.dying", domain.domid, f"d{domain.domid} is destroyed"
            )
            self._kill(domain)
            self._advance(domain)
        if domain.dying != DYING:
            return None
        address = caller.address
        domain.killers.append(address)

        def give_up() -> None:
            if domain.dying == DYING and address in domain.killers:
                domain.killers.remove(address)
                self._machine.host.reply(address, [-EAGAIN])

        self._machine.host.call_later(DESTROY_TIMEOUT, give_up)
        return DEFERRED

    def _advance(self, domain: Domain) -> None:
        """What can follow once a domain's processes are gone."""
        if domain.processes:
            return
        if domain.dying == DYING:
            if not domain.closing:
                domain.closing = True
                self._machine.work.start(self._tear_down(domain))
        elif domain.shutdown_code is not None and not domain.shut_down:
            domain.shut_down = True
            why = SHUTDOWN_NAMES.get(domain.shutdown_code, str(domain.shutdown_code))
            self._machine.ledger.record(
                "domain.shutdown",
                domain.domid,
                f"d{domain.domid} has stopped: {why}",
                code=domain.shutdown_code,
            )
            self._machine.raise_virq(VIRQ_DOM_EXC)

    def _tear_down(self, domain: Domain) -> Job:
        """No process is left: give up everything that no peer maps or holds."""
        memory, machine = domain.memory, self._machine
        for pause, ports in pieces(list(domain.events.ports)):
            if pause:
                yield
            for number in ports:
                machine.close_port(domain, number)
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
        yield from machine.reclaim.sweep(domain)
        if memory.nr_pages:
            kept = (*memory.extents.values(), *memory.leaving.values())
            named = {extent.peer for extent in kept if extent.peer is not None}
            peers = ", ".join(f"d{peer}" for peer in sorted(named))
            machine.ledger.record(
                "domain.zombie",
                domain.domid,
                f"d{domain.domid} is a zombie: {memory.nr_pages} pages are mapped or held"
                + (f" by {peers}" if peers else ""),
            )
        killers, domain.killers = domain.killers, []
        machine.raise_virq(VIRQ_DOM_EXC)
        for address in killers:
            machine.host.reply(address, [0])

    def swept(self, domain: Domain) -> Job:
        """What a domain has given up was looked at: a dead one returns its frames."""
        if domain.dying != DEAD or domain.domid not in self._machine.domains:
            return
        heap = self._machine.heap
        freed = yield from domain.memory.relinquish()
        for pause, runs in pieces(freed):
            if pause:
                yield
            heap.release(runs)
        while heap.scrub(most=SMALL) and heap.dirty:
            yield
        if not domain.memory.nr_pages:
            self._machine.forget(domain)

    def extent_released(self, domain: Domain, extent: Extent) -> None:
        """A peer let go of the last page of an extent."""
        if domain.dying == DEAD or extent.orphan:
            domain.memory.give_up(extent)
            self._machine.reclaim.look(domain)

    # -- what the host tells ----------------------------------------------------------------------

    def process_spawned(self, token: int, pid: int, missing: list[str]) -> None:
        """A process runs."""
        process = self._machine.processes[token]
        process.pid = pid
        process.missing = missing
        self._machine.ledger.record(
            "process.spawned",
            process.domid,
            f"d{process.domid} {process.name}: pid {pid}"
            + (f", walls missing: {', '.join(missing)}" if missing else ""),
            pid=pid,
            process=process.name,
        )
        domain = process.domain
        if domain.dying != ALIVE or domain.shutdown_code is not None:
            self._machine.host.signal(token, SIGKILL)
        else:
            if not domain.affinity.everywhere:
                self._machine.work.start(self._place(process))
            self._apply_stop(process)

    def process_failed(self, token: int, text: str) -> None:
        """A process could not be made."""
        process = self._machine.processes[token]
        process.failure = text
        self._machine.ledger.record(
            "process.failed", process.domid, f"d{process.domid} {process.name}: {text}"
        )
        self._machine.say(f"d{process.domid}: cannot start {process.name}: {text}")
        self.process_gone(token, None)

    def process_gone(self, token: int, status: int | None) -> None:
        """A process is really gone: nothing it could still write is on its way.

        Its mappings end, its ports close; if it was the domain's main one, the domain stops.
        """
        process = self._machine.processes[token]
        process.gone = True
        process.domain.cpu_time += self._machine.host.cpu_time(token) or 0
        self._machine.work.start(self._bury(process, status))

    def _bury(self, process: Process, status: int | None) -> Job:
        """Release what a process held; then nothing knows of it any more."""
        domain, token = process.domain, process.token
        released = yield from self._machine.transfers.release_process(process)
        for pause, ports in pieces(list(domain.events.of_process(token))):
            if pause:
                yield
            for number in ports:
                self._machine.close_port(domain, number)
        domain.events.forget(token)
        del self._machine.processes[token], domain.processes[token]
        domain.past.append(process)
        process.upcall.close()
        self._machine.ledger.record(
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
                    self._machine.fallen = process
                self.shutdown(domain, SHUTDOWN_crash, False)
            elif domain.shutdown_code is None:
                yield from self._orphan_extents(domain, token)
        self._advance(domain)

    def process_exited(self, pid: int, status: int) -> None:
        """How a process ended, which may be told before or after that it is gone."""
        past = (process for domain in self._machine.domains.values() for process in domain.past)
        for process in (*self._machine.processes.values(), *past):
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
        self._machine.reclaim.look(domain)
