"""The shell of a lab in lockstep: one process runs, and everything else is done before the next.

It is the ordinary server with another round: serve whoever has the turn until he waits, finish all
that followed from it, then let the chooser say what happens next.  Where the ordinary server goes
on while Linux does something (makes a process, ends one, stops one), this one waits for it: what
takes its time must not decide an order.

When nothing can happen before time goes on, time does, as far as somebody outside has allowed
(`open_gate`): who is outside is heard then alone, so that what he does has its place in the order
too.
"""

import select
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from hvsim.abi.errno import EBUSY, EOPNOTSUPP, EPERM
from hvsim.hypervisor import clock
from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.ends import SIGKILL
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import Port
from hvsim.hypervisor.host import Address, Doorbell, Held
from hvsim.hypervisor.kernel import WaitSet
from hvsim.hypervisor.lockstep.calls import InTurns
from hvsim.hypervisor.lockstep.choices import Recorded, chooser
from hvsim.hypervisor.lockstep.clock import STEP, VirtualClock
from hvsim.hypervisor.lockstep.linux import Hears, Linux
from hvsim.hypervisor.lockstep.sets import WaitSets
from hvsim.hypervisor.lockstep.turns import NEVER, Turns
from hvsim.hypervisor.pauses import SIGCONT, SIGSTOP
from hvsim.hypervisor.server import Server
from hvsim.hypervisor.spawning import StartSpawner, as_program
from hvsim.hypervisor.vcpu_page import tell_time
from hvsim.wire import doorbell
from hvsim.wire.boot import Boot
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import changed

_BELLS: Final = 32
"""Bells that are asked for at once."""
MAX_GATES: Final = 64
"""Who may wait outside at a time."""


class _Gate(NamedTuple):
    """Who outside waits, how far he lets time go, and whether he comes back when all is quiet."""

    address: Address
    limit: int
    quiet: bool


class LockstepServer(Server):
    """The hypervisor of a lab in lockstep."""

    def __init__(self, config: Boot, spawner: StartSpawner = as_program) -> None:
        self._time = VirtualClock()
        self._bells = select.epoll()
        self._rung: dict[int, Callable[[], None]] = {}
        super().__init__(changed(config, event_mode="mediated"), self._time, spawner)
        assert config.lockstep is not None
        plan = config.lockstep
        self._patience = plan.patience
        self._choices = Recorded(chooser(plan.way, str(config.seed), dict(plan.tape)))
        self._turns = Turns(self._choices, self._begins)
        self._sets = WaitSets()
        self._linux = Linux(self._wire, self._late, plan.patience)
        self._turn_ends: int | None = None
        self._unsettled = True
        self._gates: deque[_Gate] = deque()
        self._strays: set[int] = set()
        self._stop_later: int | None = None
        self._boots = True
        self._over = False
        self.machine.lockstep = self
        self.machine.wires.ring = self._bell

    def boot(self) -> dict[str, object]:
        """As ``Server.boot``; until it returns everybody takes turns without being let."""
        try:
            return super().boot()
        finally:
            self._boots = False

    # -- rounds -------------------------------------------------------------------------------

    def round(self, timeout: float | None) -> None:
        """Serve whoever has the turn, or give it to the next, or let time go on."""
        if self._over:
            super().round(timeout)
            return
        if self._turns.turn is not None:
            self._serve(self._turns.turn)
            return
        self._turn_ends = None
        self._finish()
        gate = self._gates[0] if self._gates else None
        if gate is None and not self._boots:
            self.loop.serve(timeout, 1)
        elif gate is not None and self.now() >= gate.limit:
            self._shut(gate, quiet=False)
        elif (option := self._turns.next(self.now(), self._sets.ready())) is not None:
            self._time.move(self.now() + STEP)
            self._turns.take(option)
        elif gate is not None:
            self._pass_time(gate)
        else:
            self.loop.serve(timeout, 1)

    def _serve(self, token: int) -> None:
        """Whoever has the turn, or from outside; as long as a turn may take, and whatever comes."""
        if self._turn_ends is None:
            self._turn_ends = clock.now() + int(self._patience * 1e9)
        left = (self._turn_ends - clock.now()) / 1e9
        if left <= 0.0 or not self.loop.serve(left, 1):
            self._late(f"{self._name(token)} has not come to wait in its vCPU")

    def close(self) -> None:
        """Nobody takes turns any more."""
        self._over = True
        self._time.let_go()
        super().close()
        self._bells.close()
        self._sets.close()

    def _finish(self) -> None:
        """All that follows from what has happened, one thing after the other."""
        if self._stop_later is not None:
            token, self._stop_later = self._stop_later, None
            self.signal(token, SIGSTOP)
        self._follow()
        if self._unsettled:
            self._unsettled = False
            self._hear()
            self._follow()
            while self.loop.serve(0.0, 1):
                self._hear()
                self._follow()

    def _follow(self) -> None:
        """What follows from a call, before its answer: nothing may come of it while the caller
        runs."""
        loop, work = self.loop, self.machine.work
        while True:
            due = loop.next_due
            if due is not None and due <= self.now():
                loop.run_due()
            elif not work.waiting:
                return
            while work.waiting:
                work.turn()

    def _pass_time(self, gate: _Gate) -> None:
        """Nothing can happen now: time goes on to the next moment at which something can."""
        _, due = self.times
        if gate.quiet:
            self._shut(gate, quiet=True)
        else:
            self._time.move(gate.limit if due == NEVER else min(due, gate.limit))

    def _shut(self, gate: _Gate, *, quiet: bool) -> None:
        self._gates.popleft()
        self._unsettled = True
        super().reply(gate.address, [0, [*self.times, quiet]])

    def dispatcher(self) -> Dispatcher:
        """One that keeps the order of what a process does."""
        return InTurns(
            self.machine, self._hear, self._follow, lambda token: self._turns.calls(token)
        )

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        """Not before the next call of the process that has the turn: what comes of a notify must
        not come while it runs."""
        self._rung[bell.fd] = rung
        self._bells.register(bell.fd, doorbell.LISTEN)

    def unlisten(self, bell: Doorbell) -> None:
        """End that."""
        if self._rung.pop(bell.fd, None) is not None:
            self._bells.unregister(bell.fd)

    def _hear(self) -> None:
        """The notifies so far."""
        while True:
            found = self._bells.poll(0.0, _BELLS)
            for fd, _ in found:
                rung = self._rung.get(fd)
                if rung is not None:
                    rung()
            if len(found) < _BELLS:
                return

    # -- turns --------------------------------------------------------------------------------

    def park(self, process: Process, until: int) -> None:
        """A process waits in its vCPU, at most *until* its system time says that; -1: for ever.

        Raises: XenError(EPERM) for one that takes no turns.
        """
        if not self._turns.takes(process.token):
            raise XenError(EPERM, "lockstep: who calls from outside takes no turns")
        if self._turns.turn != process.token and process.token not in self._strays:
            self._strays.add(process.token)
            text = f"{self._name(process.token)} has run without having the turn"
            self.ledger.record("lockstep.stray", process.domid, text)
        if until != NEVER:
            until = process.domain.time.when(until)
        self._turns.parks(process.token, until, partial(super().reply, process.address, [0]))

    def open_gate(self, caller: Process, by: int, quiet: bool) -> None:
        """Let time go on by so many nanoseconds, or until all is *quiet*, and answer then; whoever
        came before is answered first.

        Raises: XenError(EBUSY) when too many wait.
        """
        if len(self._gates) == MAX_GATES:
            raise XenError(EBUSY, f"lockstep: {MAX_GATES} others let time go on")
        self._gates.append(_Gate(caller.address, self.now() + by, quiet))

    @property
    def times(self) -> tuple[int, int]:
        """What time it is, and when something happens next by itself."""
        times = [time for time in (self._turns.deadline(), self.loop.next_due) if time is not None]
        return self.now(), min(times, default=NEVER)

    def tape(self, start: int, count: int) -> tuple[int, dict[int, int]]:
        """How many choices there were, and which of *count* of them, from *start* on, were not the
        one that waited longest."""
        return self._choices.made, self._choices.part(start, count)

    def reply(
        self, address: Address, message: list[object] | bytes, objects: Sequence[Held] = ()
    ) -> None:
        """When the process has its turn."""
        token, tag = address
        send: Callable[[], None] = partial(super().reply, address, message, list(objects))
        if self._over or not self._turns.answer(token, send, bool(tag)):
            send()

    def _begins(self, token: int) -> None:
        """Its page says what time it is."""
        process = self.machine.processes.get(token)
        if process is not None and process.page is not None:
            tell_time(process.page, process.domain.time, self)

    def _bell(self, port: Port) -> None:
        """A notify is on its way to *port*."""
        peer = port.peer

        def ring() -> None:
            if port.peer is peer:  # else it was closed meanwhile
                port.ring()

        self._turns.bell(f"bell of d{port.domid} port {port.number}", ring)

    def _name(self, token: int) -> str:
        process = self.machine.processes.get(token)
        return f"d{process.domid} {process.name}" if process is not None else "a process"

    def _is_halted(self, token: int) -> bool:
        process = self.machine.processes.get(token)
        return process is not None and process.stopped

    # -- what Linux does, waited for ------------------------------------------------------------

    @property
    def stands(self) -> bool:
        """Time does, while anybody runs."""
        return not self._over

    def make_waits(self, token: int) -> WaitSet:
        """An epoll set, into which we look."""
        return self._sets.make(token)

    def spawn(self, token: int, spec: Spawn, join: int | None, upcall: Doorbell) -> None:
        """When it is chosen; it has the turn then until it waits for the first time."""
        if join is not None:
            raise XenError(EOPNOTSUPP, "lockstep: a program of the machine takes no turns")
        ask = partial(super().spawn, token, spec, join, upcall)
        name = f"d{spec.domid} {spec.process or 'main'}"

        def make() -> None:
            ask()
            self._follow()
            self._unsettled = True
            self._linux.birth(name, lambda: token in self._pidfds or token not in self._sets)

        self._turns.birth(token, name, partial(self._is_halted, token), make)

    def spawn_failed(self, token: int, text: str) -> None:
        """There is nobody to take turns."""
        self._forget(token)
        super().spawn_failed(token, text)

    def signal(self, token: int, number: int) -> None:
        """And wait until it has done what it does.  Who has the turn is stopped at its end: else it
        would keep the turn, and the time that lets it go on would not come."""
        pidfd = self._pidfds.get(token)
        process = self.machine.processes.get(token)
        if pidfd is None or process is None or self._over:
            super().signal(token, number)
            return
        if number in (SIGSTOP, SIGCONT) and self._turns.turn == token:
            self._stop_later = token if number == SIGSTOP else None
            return
        self._unsettled = True
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        if number == SIGKILL:
            self._linux.end(pidfd, process.pid)
        elif number in (SIGSTOP, SIGCONT):
            self._linux.state(process.pid, stopped=number == SIGSTOP)

    def stopped(self, token: int) -> bool:
        """It was waited for."""
        process = self.machine.processes.get(token)
        return process is None or process.stopped

    def exited(self, pid: int, status: int) -> None:
        """How a process has ended."""
        self._linux.ended.add(pid)
        super().exited(pid, status)

    def cpu_time(self, token: int) -> int | None:
        """Not told: no two runs take the same."""
        return None

    def queued_time(self, token: int) -> int | None:
        """Not told."""
        return None

    def processor(self, token: int, count: int) -> int:
        """Not told."""
        return 0

    def running(self, token: int) -> bool:
        """Whether it has the turn."""
        return self._turns.turn == token

    def _gone(self, token: int, events: int) -> None:
        self._unsettled = True
        process = self.machine.processes.get(token)
        if process is not None and not self._over:
            self._linux.end(self._pidfds[token], process.pid)
        self._forget(token)
        super()._gone(token, events)

    def _forget(self, token: int) -> None:
        self._turns.gone(token)
        self._strays.discard(token)
        self._sets.forget(token)

    def _wire(self) -> Hears:
        assert self._spawning is not None
        return self._spawning

    def _late(self, what: str) -> None:
        """Nobody knows what comes next: the machine ends."""
        self.halt(1, f"lockstep: {what} within {self._patience:g} s")
