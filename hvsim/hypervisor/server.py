"""The shell: one thread, one wait (``loop``), and everything that comes in.

It is the :class:`~hvsim.hypervisor.host.Host` of the core. A process is declared gone only when
its pidfd is readable: then nothing that it could still write is on its way.
"""

import contextlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from hvsim.hypervisor import boot_text, clock
from hvsim.hypervisor.affinity import of_the_host
from hvsim.hypervisor.cgroups import Cgroups
from hvsim.hypervisor.connections import Connections
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.ends import SIGKILL
from hvsim.hypervisor.host import Address, Doorbell, Held
from hvsim.hypervisor.kernel import Bell, OpenFile, SharedMemory, WaitSet
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.loop import Loop
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.pauses import SIGCONT, SIGSTOP
from hvsim.hypervisor.processes import Signals, is_running, run_on
from hvsim.hypervisor.report import how_it_ended, leave_evidence, obituary
from hvsim.hypervisor.spawning import Spawning, StartSpawner, as_program, pair
from hvsim.hypervisor.work import Job
from hvsim.linux import proc
from hvsim.speak import note
from hvsim.wire import doorbell
from hvsim.wire.boot import Boot
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import changed

BOOT_TIMEOUT: Final = 60_000_000_000
"""Nanoseconds until dom0's processes are made."""
STOP_TIMEOUT: Final = 5_000_000_000
"""Nanoseconds that an orderly end waits for killed processes."""
EXPLAIN_TIMEOUT: Final = 300_000_000
"""Nanoseconds that an end waits to hear how the process ended that was its cause."""
_LAST_WORDS: Final = 2048
"""Bytes of the reason for the end."""


class Server:
    """The running hypervisor.

    Args:
        time: what it takes for the time.
        spawner: starts the spawner.

    Attributes:
        loop: its wait.
    """

    def __init__(
        self,
        config: Boot,
        time: clock.Clock | None = None,
        spawner: StartSpawner = as_program,
    ) -> None:
        self._config = config
        self._start_spawner = spawner
        self._clock = time or clock.MachineClock()
        self._dice = clock.dice(config.seed)
        self._cpus = sorted(os.sched_getaffinity(0))
        self.loop = Loop(self._clock.now)
        self._pidfds: dict[int, int] = {}
        self._exit_status: int | None = None
        self._why = ""
        self._fallen: Process | None = None
        self._asked = False
        self.ledger = Ledger(self.now, config.ledger_size, self.wall_clock() / 1e9)
        # In the next round, as whoever has made a record is still at work.
        self.ledger.on_news = lambda: self.loop.call_later(0, self.ledger.tell)
        mediated = config.event_mode == "mediated"
        self.machine = Machine(
            self, self.ledger, config.memory_pages, config.nodes, config.cpus, mediated
        )
        self._connections = Connections(
            self.loop, self.machine, self.dispatcher(), lambda token: self.signal(token, SIGKILL)
        )
        self._signals = Signals(self.machine.work, self.loop.call_later)
        self._cgroups = Cgroups(config.cgroups) if config.cgroups else None
        self._spawning: Spawning | None = None
        self._stop_bell = Bell()
        # Hearing it ends the wait of a round, and the main loop looks.
        self.loop.watch(self._stop_bell.fd, doorbell.LISTEN, lambda _: None)

    def dispatcher(self) -> Dispatcher:
        """What serves the calls of processes."""
        return Dispatcher(self.machine)

    # -- life ---------------------------------------------------------------------------------

    def boot(self) -> dict[str, object]:
        """Start the spawner, dom0 and its processes; returns the notice for who started us.

        Raises: OSError, XenError.
        """
        config = self._config
        log = Path(config.log_dir) / "spawner.log" if config.log_dir else None
        self._spawning = Spawning(self.loop, self, config.spawner, log, self._start_spawner)
        processes = config.dom0.processes
        names = [spec.process for spec in processes]
        main = "kernel" if "kernel" in names else names[0] if names else ""
        compiler = f"{sys.implementation.name} {sys.version.split()[0]}"
        for line in (
            *boot_text.machine_lines(config, compiler),
            *boot_text.dom0_lines(config.dom0),
        ):
            self.machine.say(line)
        if config.door:
            self._connections.open_door(config.door, self._stop_bell)
        dom0 = self.machine.create_dom0(config.dom0.memory_pages, config.dom0.max_vcpus, main)
        for spec in processes:
            self.machine.births.spawn(dom0, spec, spec.process == main)
        deadline = self.now() + BOOT_TIMEOUT
        while self._exit_status is None and any(not p.pid for p in dom0.processes.values()):
            if self.now() > deadline:
                late = ", ".join(p.name for p in dom0.processes.values() if not p.pid)
                self.halt(1, f"the spawner did not make these of dom0 within 60 s: {late}")
            self.round(0.5)
        if self._exit_status is not None:
            return {"error": self._why or "dom0 ended at once"}
        return {"ready": True, "pid": os.getpid(), "spawner_pid": self.pids().get("spawner", 0)}

    def run(self) -> int:
        """Serve until the machine is halted; returns the exit status."""
        while self._exit_status is None:
            self.round(None)
        return self._exit_status

    def round(self, timeout: float | None) -> None:
        """Wait once, at most *timeout* seconds, and serve what has come; then do a piece of what
        is too long to be done at once."""
        work = self.machine.work
        self.loop.round(0.0 if work.waiting else timeout)
        work.turn()

    def stop(self, signum: int = signal.SIGTERM, _frame: object = None) -> None:
        """Signal handler: end in order."""
        self._asked = True
        self.halt(0, f"signal {signum}")

    def close(self) -> None:
        """Kill every process, wait until all are gone, and let go of everything."""
        if not self._asked:
            self._leave_evidence()
        deadline = self.now() + STOP_TIMEOUT
        while self._pidfds and self.now() < deadline:
            # Every round anew: one whose spawning was under way may have joined them.
            for token in self._pidfds:
                self.signal(token, SIGKILL)
            self.round(0.1)
        fallen, soon = self._fallen, self.now() + EXPLAIN_TIMEOUT
        while fallen is not None and fallen.status is None and self.now() < soon:
            self.round(0.05)  # the spawner is about to say how it ended
        if self._spawning is not None:
            self._spawning.close()
        self._connections.close()
        self._write_obituary()
        self.loop.close()
        self._stop_bell.close()

    # -- the Host of the core -------------------------------------------------------------------

    def now(self) -> int:
        """Monotonic nanoseconds."""
        return self._clock.now()

    def wall_clock(self) -> int:
        """As the machine's clocks are now."""
        return self._clock.wall_clock()

    def random(self) -> float:
        """The lab's dice."""
        return self._dice.random()

    def seed(self, name: str) -> int:
        """From the lab's seed and the name."""
        return clock.dice(f"{self._config.seed}/{name}").getrandbits(64)

    def call_later(self, delay: int, call: Callable[[], None]) -> None:
        """A timer."""
        self.loop.call_later(delay, call)

    def make_memory(self, name: str, nr_pages: int) -> SharedMemory:
        """A memfd."""
        return SharedMemory(name, nr_pages)

    def make_doorbell(self) -> Bell:
        """A bell."""
        return Bell()

    def open_file(self, path: str, writable: bool) -> OpenFile:
        """Whatever dom0 may open."""
        return OpenFile(path, writable)

    @property
    def stands(self) -> bool:
        """Time goes on by itself."""
        return False

    def make_waits(self, token: int) -> WaitSet | None:
        """A process makes its own."""
        return None

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        """Watch a mediated wire."""
        self.loop.watch(bell.fd, doorbell.LISTEN, lambda _: rung())

    def unlisten(self, bell: Doorbell) -> None:
        """End that."""
        self.loop.unwatch(bell.fd)

    def spawn(self, token: int, spec: Spawn, join: int | None, upcall: Doorbell) -> None:
        """Ask the spawner for a process; its connection is served from the first moment."""
        assert self._spawning is not None
        spawning = self._spawning
        ours, theirs = pair()
        if not spec.trusted:
            spec = self._bound(spec)
        spawning.ask(token, spec, join, theirs, upcall)

        def connect() -> None:
            self._connections.connect(self.machine.processes[token], ours)
            spawning.send()

        # The core enters the process when this returns; the connection is looked at after that.
        self.loop.call_later(0, connect)

    def _bound(self, spec: Spawn) -> Spawn:
        """How much the process's domain may have, and where that is counted, said with the rest."""
        pages = self.machine.domains[spec.domid].memory.nr_pages
        if self._cgroups is None:
            return changed(spec, pages=pages)
        driver = spec.profile == "driver"
        kind = "driver" if driver else "program" if spec.runs_programs else "guest"
        cgroup = tuple(self._cgroups.make(spec.domid, kind, pages))
        return changed(spec, pages=pages, cgroup=cgroup)

    def forget(self, domid: int) -> None:
        """Remove its cgroups; what the kernel still has of them is removed with the lab's."""
        if self._cgroups is not None:
            self._cgroups.remove(domid)

    def signal(self, token: int, number: int) -> None:
        """By pidfd, so it reaches that process or none.  A domain that stops or goes on does so
        with the programs that it has started."""
        pidfd = self._pidfds.get(token)
        process = self.machine.processes.get(token)
        if pidfd is None or process is None:
            return
        if number == SIGKILL and process.domain.privileged:  # else: the end of its namespace
            self._signals.kill(token, process.pid, pidfd)
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        if number in (SIGSTOP, SIGCONT):
            self._signals.tell(token, process.pid, number)

    def cpu_time(self, token: int) -> int | None:
        """From the process's CPU clock."""
        process = self.machine.processes.get(token)
        return clock.cpu_time(process.pid) if process is not None and process.pid else None

    def queued_time(self, token: int) -> int | None:
        """From /proc, for its first thread: a domain has no other."""
        process = self.machine.processes.get(token)
        times = proc.schedstat(process.pid) if process is not None and process.pid else None
        return None if times is None else times.queued

    def processor(self, token: int, count: int) -> int:
        """From /proc; a CPU that we may use stands for one of the lab."""
        process = self.machine.processes.get(token)
        stat = proc.stat(process.pid) if process is not None and process.pid else None
        if stat is None or stat.processor not in self._cpus:
            return 0
        return self._cpus.index(stat.processor) % count

    def place(self, token: int, cpus: list[int], count: int) -> Job:
        """sched_setaffinity(2) of each thread; a CPU of the lab is one that we may use."""
        process = self.machine.processes.get(token)
        if process is not None and process.pid:
            yield from run_on(process.pid, of_the_host(cpus, self._cpus, count))

    def running(self, token: int) -> bool:
        """From /proc."""
        process = self.machine.processes.get(token)
        return process is not None and bool(process.pid) and is_running(process.pid)

    def stopped(self, token: int) -> bool:
        """As the last look has found it."""
        return token not in self.machine.processes or self._signals.still(token)

    def reply(
        self,
        address: Address,
        message: list[object] | bytes,
        objects: Sequence[Held] = (),
    ) -> None:
        """Answer a call that was left open."""
        self._connections.reply(address, message, objects)

    def complain(self, error: Exception) -> None:
        """To our log."""
        note("".join(traceback.format_exception(error)))

    def halt(self, status: int, text: str) -> None:
        """The main loop ends after this round."""
        if self._exit_status is None:
            if self.machine.shortage:
                text = f"{self.machine.shortage} ({text})"
            self._exit_status, self._why = status, text
            self._fallen = self.machine.fallen  # who falls after this is not the cause
            self.ledger.record("machine.halt", -1, text)
            note(f"hypervisor: {text}")
        self._stop_bell.ring()

    def pids(self) -> dict[str, int]:
        """Ours and the spawner's."""
        spawner = {} if self._spawning is None else {"spawner": self._spawning.pid}
        return {"hypervisor": os.getpid(), **spawner}

    # -- what the spawner says --------------------------------------------------------------------

    def spawned(self, token: int, pid: int, missing: list[str], pidfd: int) -> None:
        """A process runs."""
        self._pidfds[token] = pidfd
        self.machine.births.process_spawned(token, pid, missing)
        self.loop.watch(pidfd, select.EPOLLIN, partial(self._gone, token))
        if self._connections.is_closed(token):
            self.signal(token, SIGKILL)

    def spawn_failed(self, token: int, text: str) -> None:
        """A process could not be made."""
        self._connections.drop(token)
        self.machine.births.process_failed(token, text)

    def exited(self, pid: int, status: int) -> None:
        """How a process has ended."""
        text = how_it_ended(status)
        self.ledger.record("process.exited", -1, f"pid {pid}: {text}", pid=pid, status=status)
        self.machine.ends.process_exited(pid, status)

    def spawner_odd(self, text: str) -> None:
        """A bug of ours."""
        self.ledger.record("spawner.odd", -1, text)

    def spawner_died(self) -> None:
        """Without it no process can be made."""
        self.halt(1, "the spawner has died")

    def _gone(self, token: int, _events: int) -> None:
        """A pidfd is readable: the process is really gone."""
        self._signals.forget(token)
        self.machine.ends.process_gone(token, None)
        pidfd = self._pidfds.pop(token)
        self.loop.unwatch(pidfd)
        os.close(pidfd)
        self._connections.drop(token)

    # -- the end ----------------------------------------------------------------------------------

    def _write_obituary(self) -> None:
        """Why the machine has ended, for whoever asks for it later."""
        if self._config.obituary is not None:
            why = self._why or "the hypervisor has failed: the end of its log says how"
            with contextlib.suppress(OSError):  # its folder may be gone already
                text = obituary(why, self._fallen)
                # Into the room that was reserved for it: the disk may be full by now.
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(self._config.obituary, flags, 0o600), "wb") as file:
                    file.write(f"{text}\n".encode("utf-8", "replace")[:_LAST_WORDS])

    def _leave_evidence(self) -> None:
        """The machine falls: put down what only this process knows, and let the store do so too."""
        dom0 = self.machine.domains.get(0)
        processes = dom0.processes.values() if dom0 is not None else ()
        stores = [process.token for process in processes if process.name == "xenstored"]
        for token in stores:
            self._connections.drop(token)  # it puts down its part, and ends
        if self._config.log_dir:
            leave_evidence(Path(self._config.log_dir), self.machine)
        soon = self.now() + EXPLAIN_TIMEOUT
        while any(token in self._pidfds for token in stores) and self.now() < soon:
            self.round(0.05)
