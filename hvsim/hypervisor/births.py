"""How a domain gets its processes: the main one at its first unpause, others when dom0 asks."""

from typing import Final

from hvsim.abi.cpumask import numbers
from hvsim.abi.errno import EBUSY, EEXIST, EINVAL, ENOMEM
from hvsim.hypervisor import runstates
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.ends import SIGKILL, Ends
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Doorbell
from hvsim.hypervisor.pauses import Pauses
from hvsim.hypervisor.port import Port
from hvsim.hypervisor.vcpu import VCpu
from hvsim.hypervisor.vcpu_page import VCpuPage, tell_time
from hvsim.hypervisor.work import Job, pieces
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import changed

MAX_PROCESSES: Final = 64
"""Processes of one domain."""
_NAME_MAX: Final = 64
"""Of a name for people, of a memfd."""


class Births:
    """Makes the processes of domains, and says on which CPUs they may run."""

    def __init__(self, port: Port, pauses: Pauses, ends: Ends) -> None:
        self._port = port
        self._pauses = pauses
        self._ends = ends
        self._next_token = 1

    def load(self, domain: Domain, spec: Spawn) -> None:
        """Say how the main process of a domain is made. Raises XenError(EBUSY)."""
        if domain.started or domain.dying != ALIVE:
            raise XenError(EBUSY)
        domain.spec = changed(spec, domid=domain.domid)

    def spawn(self, domain: Domain, spec: Spawn, main: bool) -> Process:
        """Make a process in a domain.

        Raises: XenError: EBUSY the domain is ending, EEXIST the name is taken, ENOMEM too many;
            OSError.
        """
        name = spec.process or "main"
        if domain.dying != ALIVE or domain.shutdown_code is not None:
            raise XenError(EBUSY)
        if domain.process(name) is not None:
            raise XenError(EEXIST, f"d{domain.domid} has a process {name!r}")
        if len(domain.processes) >= MAX_PROCESSES:
            raise XenError(ENOMEM, f"{MAX_PROCESSES} processes of one domain is the limit")
        join = None
        if spec.exec and not domain.privileged:
            first = domain.main
            if first is None or not first.pid:
                raise XenError(EBUSY, f"d{domain.domid} has no main process yet")
            join = first.pid
        host = self._port.host
        upcall: Doorbell = host.make_doorbell()
        try:
            page = self._page(domain, name)
        except OSError:
            upcall.close()
            raise
        token = self._next_token
        self._next_token += 1
        vcpu, seed = VCpu(host.now()), host.seed(f"d{domain.domid}/{name}")
        waits = host.make_waits(token)
        process = Process(token, domain, name, main, upcall, vcpu, page, waits, seed)
        try:
            host.spawn(token, changed(spec, domid=domain.domid, process=name), join, upcall)
        except OSError:
            process.close()
            raise
        self._port.processes[token] = domain.processes[token] = process
        if main:
            for port in list(domain.events.of_process(None).values()):
                domain.events.give(port, token)
        return process

    def _page(self, domain: Domain, name: str) -> VCpuPage:
        """What a process shares with us as a vCPU: the time, from now on."""
        host = self._port.host
        page = VCpuPage(host, f"d{domain.domid}-{name}"[:_NAME_MAX])
        tell_time(page, domain.time, host)
        return page

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
        self._pauses.release(domain)

    def place(self, domain: Domain) -> Job:
        """Let the processes of a domain run where the affinity of its vCPU 0 says. A job."""
        for pause, [process] in pieces(list(domain.processes.values()), 1):
            if pause:
                yield
            yield from self._place(process)

    def _place(self, process: Process) -> Job:
        if process.pid and not process.gone:
            cpus = numbers(process.domain.affinity.hard[0])
            yield from self._port.host.place(process.token, cpus, self._port.cpus)

    def process_spawned(self, token: int, pid: int, missing: list[str]) -> None:
        """A process runs."""
        process = self._port.processes[token]
        process.pid = pid
        process.missing = missing
        self._port.ledger.record(
            "process.spawned",
            process.domid,
            f"d{process.domid} {process.name}: pid {pid}"
            + (f", walls missing: {', '.join(missing)}" if missing else ""),
            pid=pid,
            process=process.name,
        )
        domain = process.domain
        runstates.started(domain, process, self._port.host.now())
        if domain.dying != ALIVE or domain.shutdown_code is not None:
            self._port.host.signal(token, SIGKILL)
        else:
            if not domain.affinity.everywhere:
                self._port.work.start(self._place(process))
            self._pauses.apply(process)

    def process_failed(self, token: int, text: str) -> None:
        """A process could not be made."""
        process = self._port.processes[token]
        process.failure = text
        self._port.ledger.record(
            "process.failed", process.domid, f"d{process.domid} {process.name}: {text}"
        )
        self._port.say(f"d{process.domid}: cannot start {process.name}: {text}")
        self._ends.process_gone(token, None)
