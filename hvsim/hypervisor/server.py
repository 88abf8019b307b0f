"""The shell: one thread, one epoll set, and everything that comes in.

It is the :class:`~hvsim.hypervisor.host.Host` of the core. A process is declared gone only when
its pidfd is readable: then nothing that it could still write is on its way.
"""

import contextlib
import heapq
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import zmq

from hvsim.hypervisor import boot_text
from hvsim.hypervisor.affinity import of_the_host
from hvsim.hypervisor.cgroups import Cgroups
from hvsim.hypervisor.config import BootConfig
from hvsim.hypervisor.connection import Connection
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.door import Door, Visits
from hvsim.hypervisor.host import Address, Doorbell, Held
from hvsim.hypervisor.kernel import Bell, OpenFile, SharedMemory
from hvsim.hypervisor.ledger import Ledger, Record
from hvsim.hypervisor.lifecycle import SIGCONT, SIGKILL, SIGSTOP
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.processes import Signals, cpu_time, is_running, run_on
from hvsim.hypervisor.report import how_it_ended, leave_evidence, obituary
from hvsim.hypervisor.work import Job
from hvsim.speak import note
from hvsim.wire import doorbell, rights
from hvsim.wire.endpoints import endpoint
from hvsim.wire.gate import Gate, keep
from hvsim.wire.packing import pack, unpack

MAX_EVENTS: Final = 64
"""Events taken in one round; every connection gives at most one call a round."""
MAX_TIMERS: Final = 64
"""Timers that are run in one round."""
STOP_TIMEOUT: Final = 5.0
"""Seconds that an orderly end waits for killed processes."""
EXPLAIN_TIMEOUT: Final = 0.3
"""Seconds that an end waits to hear how the process ended that was its cause."""
UNSENT_RECORDS: Final = 8192
_LAST_WORDS: Final = 2048
"""Bytes of the reason for the end."""
_SPAWNER_MESSAGE: Final = 1 << 16


class Server:
    """The running hypervisor."""

    def __init__(self, config: BootConfig) -> None:
        self._config = config
        self._dice = random.Random(config.seed)
        self._cpus = sorted(os.sched_getaffinity(0))
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._timer_number = 0
        self._connections: dict[int, Connection] = {}
        self._pidfds: dict[int, int] = {}
        self._spawns: list[tuple[bytes, list[Any]]] = []
        self._failed: list[tuple[int, str]] = []
        self._door: Door | None = None
        self._next_visitor = -1
        self._exit_status: int | None = None
        self._why = ""
        self._fallen: Process | None = None
        self._asked = False
        self._records: list[Record] = []
        offset = time.time() - time.monotonic()
        self.ledger = Ledger(self.now, config.ledger_size, offset)
        self.ledger.on_record = self._publish
        self.machine = Machine(
            self, self.ledger, config.memory_pages, config.nodes, config.cpus, config.mediated
        )
        self._dispatcher = Dispatcher(self.machine)
        self._signals = Signals(self.machine.work, self.call_later)
        self._visits = Visits(self.machine)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._publisher: zmq.Socket[bytes] | None = None
        self._gate: Gate | None = None
        self._cgroups = Cgroups(config.cgroups) if config.cgroups else None
        self._spawner: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._stop_bell = Bell()
        # Hearing it ends the wait of a round, and the main loop looks.
        self._watch(self._stop_bell.fd, doorbell.LISTEN, lambda _: None)

    # -- life ---------------------------------------------------------------------------------

    def boot(self) -> dict[str, Any]:
        """Start the spawner, dom0 and its processes; returns the notice for who started us.

        Raises: OSError, zmq.ZMQError, XenError.
        """
        if self._config.events_endpoint:
            self._context = zmq.Context()
            self._gate = Gate(self._context)
            self._watch(self._gate.fd, select.EPOLLIN, lambda _: self._ask_peers())
            self._publisher = self._context.socket(zmq.PUB)
            self._publisher.setsockopt(zmq.LINGER, 0)
            keep(self._publisher)
            self._publisher.bind(endpoint(self._config.events_endpoint))
        self._start_spawner()
        processes = self._config.processes
        names = [spec.get("process") for spec in processes]
        main = "kernel" if "kernel" in names else names[0] if names else ""
        compiler = f"{sys.implementation.name} {sys.version.split()[0]}"
        for line in (
            *boot_text.machine_lines(self._config, compiler),
            *boot_text.dom0_lines(self._config),
        ):
            self.machine.say(line)
        if self._config.door:
            self._door = Door(self._config.door, self._let_in)
            self._watch(self._door.fileno(), select.EPOLLIN, self._door.answer)
        dom0 = self.machine.create_dom0(self._config.dom0_pages, self._config.dom0_vcpus, str(main))
        for spec in processes:
            self.machine.life.spawn(dom0, spec, spec.get("process") == main)
        deadline = time.monotonic() + 60.0
        while self._exit_status is None and any(not p.pid for p in dom0.processes.values()):
            if time.monotonic() > deadline:
                late = ", ".join(p.name for p in dom0.processes.values() if not p.pid)
                self.halt(1, f"the spawner did not make these of dom0 within 60 s: {late}")
            self._round(0.5)
        if self._exit_status is not None:
            return {"error": self._why or "dom0 ended at once"}
        return {"ready": True, "pid": os.getpid(), "spawner_pid": self.pids().get("spawner", 0)}

    def run(self) -> int:
        """Serve until the machine is halted; returns the exit status."""
        while self._exit_status is None:
            self._round(None)
        return self._exit_status

    def stop(self, signum: int = signal.SIGTERM, _frame: object = None) -> None:
        """Signal handler: end in order."""
        self._asked = True
        self.halt(0, f"signal {signum}")

    def close(self) -> None:
        """Kill every process, wait until all are gone, and let go of everything."""
        if not self._asked:
            self._leave_evidence()
        deadline = time.monotonic() + STOP_TIMEOUT
        while self._pidfds and time.monotonic() < deadline:
            # Every round anew: one whose spawning was under way may have joined them.
            for token in self._pidfds:
                self.signal(token, SIGKILL)
            self._round(0.1)
        fallen, soon = self._fallen, time.monotonic() + EXPLAIN_TIMEOUT
        while fallen is not None and fallen.status is None and time.monotonic() < soon:
            self._round(0.05)  # the spawner is about to say how it ended
        if self._channel is not None:
            self._unwatch(self._channel.fileno())
            self._channel.close()
        if self._spawner is not None:
            try:
                self._spawner.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._spawner.kill()
                self._spawner.wait()
        for connection in self._connections.values():
            connection.close()
        if self._door is not None:
            self._door.close()
        self._write_obituary()
        self._flush_records()
        if self._publisher is not None and self._context is not None:
            self._publisher.close()
            if self._gate is not None:
                self._gate.close()
            self._context.term()
        self._epoll.close()
        self._stop_bell.close()

    def _round(self, timeout: float | None) -> None:
        """Wait once and serve what has come."""
        if self._timers:
            until = max(0.0, (self._timers[0][0] - self.now()) / 1e9)
            timeout = until if timeout is None else min(timeout, until)
        work = self.machine.work
        if self._failed or work.waiting:
            timeout = 0.0
        handlers = self._handlers
        for fd, events in self._epoll.poll(timeout, MAX_EVENTS):
            handler = handlers.get(fd)
            if handler is not None:  # an earlier event of this round may have ended it
                handler(events)
        if self._failed:
            failed, self._failed = self._failed, []
            for token, text in failed:
                self._spawn_failed(token, text)
        due = MAX_TIMERS
        while due and self._timers and self._timers[0][0] <= self.now():
            heapq.heappop(self._timers)[2]()
            due -= 1
        work.turn()
        if self._records:
            self._flush_records()

    def _watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def _unwatch(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    # -- the Host of the core -------------------------------------------------------------------

    def now(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def random(self) -> float:
        """The lab's dice."""
        return self._dice.random()

    def call_later(self, delay: int, call: Callable[[], None]) -> None:
        """A timer."""
        self._timer_number += 1
        heapq.heappush(self._timers, (self.now() + delay, self._timer_number, call))

    def make_memory(self, name: str, nr_pages: int) -> SharedMemory:
        """A memfd."""
        return SharedMemory(name, nr_pages)

    def make_doorbell(self) -> Bell:
        """A bell."""
        return Bell()

    def open_file(self, path: str, writable: bool) -> OpenFile:
        """Whatever dom0 may open."""
        return OpenFile(path, writable)

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        """Watch a mediated wire."""
        self._watch(bell.fd, doorbell.LISTEN, lambda _: rung())

    def unlisten(self, bell: Doorbell) -> None:
        """End that."""
        self._unwatch(bell.fd)

    def spawn(self, token: int, spec: dict[str, Any], upcall: Doorbell) -> None:
        """Ask the spawner for a process; its connection is served from the first moment."""
        ours, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )
        ours.setblocking(False)
        if spec.get("profile") != "dom0":
            self._bound(spec)
        join = spec.pop("join", None)
        request = ["spawn", token, spec] if join is None else ["join", token, join, spec]
        self._spawns.append((pack(request), [theirs, upcall]))
        # The core enters the process when this returns; the connection is looked at after that.
        self.call_later(0, partial(self._connect, token, ours))

    def _bound(self, spec: dict[str, Any]) -> None:
        """Say how much the process's domain may have, and where that is counted."""
        domid = spec["domid"]
        spec["pages"] = self.machine.domains[domid].memory.nr_pages
        if self._cgroups is not None:
            programs = spec.get("executables") or spec.get("exec")
            driver = spec.get("profile") == "driver"
            kind = "driver" if driver else "program" if programs else "guest"
            spec["cgroup"] = self._cgroups.make(domid, kind, spec["pages"])

    def forget(self, domid: int) -> None:
        """Remove its cgroups; what the kernel still has of them is removed with the lab's."""
        if self._cgroups is not None:
            self._cgroups.remove(domid)

    def _connect(self, token: int, ours: socket.socket) -> None:
        process = self.machine.processes[token]
        fd = ours.fileno()
        connection = Connection(
            ours,
            process,
            self._dispatcher,
            self._epoll.modify,
            self.call_later,
            partial(self._hung_up, process, fd),
        )
        self._connections[token] = connection
        self._watch(fd, select.EPOLLIN, connection.on_event)
        self._send_spawns()

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
        return cpu_time(process.pid) if process is not None and process.pid else None

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
        message: list[Any] | bytes,
        objects: Sequence[Held] = (),
    ) -> None:
        """Answer a call that was left open."""
        token, tag = address
        connection = self._connections.get(token)
        if connection is None:
            return
        reply = message if isinstance(message, bytes) else self._dispatcher.pack(message, tag)
        if tag:
            connection.answer_tagged(reply)
        else:
            connection.answer(reply, list(objects))

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
        spawner = {} if self._spawner is None else {"spawner": self._spawner.pid}
        return {"hypervisor": os.getpid(), **spawner}

    # -- processes ------------------------------------------------------------------------------

    def _start_spawner(self) -> None:
        ours, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC
        )
        ours.setblocking(False)
        self._channel = ours
        command = list(
            self._config.spawner or (sys.executable, "-X", "utf8", "-m", "hvsim.spawn.spawner")
        )
        command += ["--fd", str(theirs.fileno())]
        if self._config.preload:
            command += ["--warm", *self._config.preload]
        with contextlib.ExitStack() as stack:
            stack.callback(theirs.close)
            output = None
            if self._config.log_dir:
                path = Path(self._config.log_dir) / "spawner.log"
                output = stack.enter_context(path.open("ab"))
            self._spawner = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._watch(ours.fileno(), select.EPOLLIN, self._spawner_event)

    def _send_spawns(self) -> None:
        assert self._channel is not None
        while self._spawns:
            data, (theirs, upcall) = self._spawns[0]
            try:
                fds = (theirs.fileno(), upcall.fd)
                rights.send(self._channel, [data], fds, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._epoll.modify(self._channel.fileno(), select.EPOLLIN | select.EPOLLOUT)
                return
            except OSError as error:
                token = unpack(data)[1]
                self._failed.append((token, f"cannot reach the spawner: {error.strerror}"))
            del self._spawns[0]
            theirs.close()
        self._epoll.modify(self._channel.fileno(), select.EPOLLIN)

    def _spawner_event(self, events: int) -> None:
        assert self._channel is not None
        if events & select.EPOLLOUT:
            self._send_spawns()
        if not events & ~select.EPOLLOUT:
            return
        try:
            data, fds = rights.receive(self._channel, _SPAWNER_MESSAGE, 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except rights.Truncated as odd:
            self.ledger.record("spawner.odd", -1, f"the spawner says {odd.strerror}")
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._unwatch(self._channel.fileno())
            self.halt(1, "the spawner has died")
            return
        match unpack(data):
            case ["spawned", int(token), int(pid), list(missing)] if fds:
                pidfd = fds.pop()
                self._pidfds[token] = pidfd
                self.machine.life.process_spawned(token, pid, missing)
                self._watch(pidfd, select.EPOLLIN, lambda _: self._gone(token))
                if self._connections[token].closed:
                    self.signal(token, SIGKILL)
            case ["failed", int(token), str(text)]:
                self._spawn_failed(token, text)
            case ["exited", int(pid), int(status)]:
                self._note_exit(pid, status)
            case other:
                self.ledger.record("spawner.odd", -1, f"the spawner says {other!r}"[:200])
        rights.close(fds)

    def _spawn_failed(self, token: int, text: str) -> None:
        self._drop_connection(token)
        self.machine.life.process_failed(token, text)

    def _note_exit(self, pid: int, status: int) -> None:
        text = how_it_ended(status)
        self.ledger.record("process.exited", -1, f"pid {pid}: {text}", pid=pid, status=status)
        self.machine.life.process_exited(pid, status)

    def _gone(self, token: int) -> None:
        """A pidfd is readable: the process is really gone."""
        self._signals.forget(token)
        self.machine.life.process_gone(token, None)
        pidfd = self._pidfds.pop(token)
        self._unwatch(pidfd)
        os.close(pidfd)
        self._drop_connection(token)

    def _drop_connection(self, token: int) -> None:
        connection = self._connections.pop(token, None)
        if connection is not None and not connection.closed:
            self._unwatch(connection.fileno())
            connection.close()

    def _hung_up(self, process: Process, fd: int) -> None:
        """A process closed its connection: it is of no more use, and ends now."""
        self._handlers.pop(fd, None)
        self.signal(process.token, SIGKILL)

    # -- people -----------------------------------------------------------------------------------

    def _let_in(self, visitor: socket.socket) -> None:
        """Serve a visitor of the owner's door, as a process of dom0 that is none."""
        dom0, token, fd = self.machine.domains[0], self._next_visitor, visitor.fileno()
        self._next_visitor -= 1
        self._connections[token] = connection = Connection(
            visitor,
            Process(token, dom0, "visitor", False, self._stop_bell),
            self._visits,
            self._epoll.modify,
            self.call_later,
            partial(self._has_left, token, fd),
        )
        self._watch(fd, select.EPOLLIN, connection.on_event)

    def _has_left(self, token: int, fd: int) -> None:
        self._handlers.pop(fd, None)
        del self._connections[token]
        assert self._door is not None
        self._door.visitors -= 1

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
        stores = {process.token for process in processes if process.name == "xenstored"}
        for token in stores:
            self._drop_connection(token)  # it puts down its part, and ends
        if self._config.log_dir:
            leave_evidence(Path(self._config.log_dir), self.machine)
        soon = time.monotonic() + EXPLAIN_TIMEOUT
        while stores & self._pidfds.keys() and time.monotonic() < soon:
            self._round(0.05)

    # -- the ledger, published --------------------------------------------------------------------

    def _ask_peers(self) -> None:
        """Somebody wants to hear the ledger."""
        if self._gate is not None:
            self._gate.serve()

    def _publish(self, record: Record) -> None:
        if len(self._records) < UNSENT_RECORDS:
            self._records.append(record)

    def _flush_records(self) -> None:
        records, self._records = self._records, []
        if self._publisher is not None:
            for record in records:
                with contextlib.suppress(zmq.Again):
                    self._publisher.send(pack(record), zmq.NOBLOCK)
