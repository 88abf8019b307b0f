"""Faults of a process: it is killed, crashes, stands still, is made again and again, is slow.

Seams "process" and "cpu" of the rules (`faults`).  Pure: signals and timers are the host's.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from hvsim.abi.errno import EINVAL
from hvsim.abi.sched import SHUTDOWN_crash
from hvsim.hypervisor.clock import dice
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.ends import SIGKILL, Ends
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.faults import Faults, Standing
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.pauses import Pauses
from hvsim.wire.fault import Trigger

PERIOD: Final = 50_000_000
"""Nanoseconds of which a slow process runs its share."""
LOOK: Final = 10_000_000
"""Nanoseconds until a domain is looked at again whose process does not run yet."""
ACTIONS: Final = ("kill", "crash", "stall", "restart-loop")
_SECOND: Final = 1_000_000_000


class ProcessFaults:
    """Puts rules of both seams in place."""

    def __init__(self, host: Host, faults: Faults, pauses: Pauses, ends: Ends) -> None:
        self._host = host
        self._faults = faults
        self._pauses = pauses
        self._ends = ends
        self._stalled: list[Process] = []
        faults.seams["process"] = self.strike
        faults.seams["cpu"] = self.slow

    def strike(self, standing: Standing) -> Callable[[], None]:
        """Seam "process": settings ``process`` (`ACTIONS`), ``in`` ([least, most] seconds)."""
        rule = standing.rule
        action, span = rule.settings.get("process"), rule.settings.get("in", [0.0, 0.0])
        if action not in ACTIONS or not _is_span(span):
            raise XenError(EINVAL, f"fault: process {action!r} in {span!r}"[:200])
        if action == "crash" and rule.process:
            raise XenError(EINVAL, "fault: a domain crashes; a process of dom0 is killed")
        blow = _Blow(self, standing, str(action), (float(span[0]), float(span[1])))
        if action == "restart-loop":
            standing.born = standing.again = blow.soon
        domain = self._faults.living(rule.domain)
        if domain is not None:
            blow.soon(domain)
        return blow.lift

    def slow(self, standing: Standing) -> Callable[[], None]:
        """Seam "cpu": setting ``cpu``, the share of its time that a domain, or a process, runs."""
        share = standing.rule.settings.get("cpu")
        if type(share) is not float or not 0.0 < share <= 1.0:
            raise XenError(EINVAL, f"fault: cpu {share!r} is no share"[:200])
        if not standing.rule.process and not any(standing.rule.domain):
            raise XenError(EINVAL, "fault: dom0's processes are slow one by one: xenstored, kernel")
        brake = _Brake(self._host, self._faults, self._pauses, standing, share)
        brake.turn()
        return brake.lift

    # -- for a blow ----------------------------------------------------------------------------

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """A timer."""
        self._host.call_later(int(seconds * _SECOND), call)

    def act(self, standing: Standing, action: str, process: Process) -> None:
        """Do it."""
        domain = process.domain
        if action == "crash":
            self._ends.shutdown(domain, SHUTDOWN_crash, False)
        elif action == "stall":
            process.stalled = True
            self._stalled.append(process)
            self._pauses.apply(process)
        else:
            process.struck = True
            self._host.signal(process.token, SIGKILL)
        done = {"crash": "crashed", "stall": "stalled"}.get(action, "killed")
        text = f"d{domain.domid} {process.name} {done}"
        self._faults.fired(standing, domain.domid, text)

    def go_on(self, process: Process) -> None:
        """The stall of one rule is over."""
        self._stalled.remove(process)
        if not process.gone and process not in self._stalled:
            self._pauses.resume(process)


class _Blow:
    """One rule of the seam "process"."""

    def __init__(
        self, faults: ProcessFaults, standing: Standing, action: str, span: tuple[float, float]
    ) -> None:
        self._faults = faults
        self._standing = standing
        self._action = action
        self._span = span
        self._dice = dice(standing.rule.seed)
        self._trigger = Trigger(standing.rule.when, self._dice.random)
        self._stalled: list[Process] = []
        self._lives = 0
        self._lifted = False

    def soon(self, domain: Domain) -> None:
        """Strike this life of the domain, when its time has come."""
        least, most = self._span
        wait = least + (most - least) * self._dice.random()
        self._lives += 1
        self._faults.later(wait, partial(self._strike, domain, self._lives))

    def lift(self) -> None:
        """No more of it."""
        self._lifted = True
        stalled, self._stalled = self._stalled, []
        for process in stalled:
            self._faults.go_on(process)

    def _strike(self, domain: Domain, life: int) -> None:
        if self._lifted or domain.dying != ALIVE or domain.shutdown_code is not None:
            return
        if life != self._lives:
            return  # that one has ended by itself, and the next has a time of its own
        process = domain.process(self._standing.rule.process)
        if process is None or not process.pid:
            self._faults.later(LOOK / _SECOND, partial(self._strike, domain, life))
        elif self._trigger.fires():
            self._faults.act(self._standing, self._action, process)
            if self._action == "stall":
                self._stalled.append(process)


class _Brake:
    """One rule of the seam "cpu": SIGSTOP and SIGCONT by turns."""

    def __init__(
        self, host: Host, faults: Faults, pauses: Pauses, standing: Standing, share: float
    ) -> None:
        self._host = host
        self._faults = faults
        self._pauses = pauses
        self._standing = standing
        self._run = max(1, int(PERIOD * share))
        self._share = share
        self._period = -1
        self._lifted = False
        self._told: Domain | None = None

    def turn(self) -> None:
        """Let the processes run, or not, until the next turn.  All rules begin their periods at the
        same time: of two, the lesser share holds.  Of a period that begins late, as timers do, the
        share is not less: a small one would be none."""
        if self._lifted:
            return
        period, into = divmod(self._host.now(), PERIOD)
        begins, self._period = period != self._period, period
        self._apply(not begins)
        left = PERIOD - into
        self._host.call_later(min(self._run, left) if begins else left, self.turn)

    def lift(self) -> None:
        """They run as they like, unless another rule has a word in it."""
        self._lifted = True
        self._apply(False)

    def _apply(self, stop: bool) -> None:
        rule = self._standing.rule
        domain = self._faults.living(rule.domain)
        if domain is None:
            return
        if domain is not self._told:
            self._told = domain
            text = f"d{domain.domid} runs {self._share:.0%} of its time"
            self._faults.fired(self._standing, domain.domid, text)
        for process in domain.processes.values():
            named = process.name == rule.process if rule.process else not domain.privileged
            if named:
                if self._lifted:
                    process.brakes.pop(rule.number, None)
                else:
                    process.brakes[rule.number] = stop
                self._pauses.apply(process)


def _is_span(span: object) -> bool:
    return (
        isinstance(span, list)
        and len(span) == 2
        and all(isinstance(one, int | float) and 0 <= one < 1e9 for one in span)
        and span[0] <= span[1]
    )
