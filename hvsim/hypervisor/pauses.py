"""Processes that stand still: a domain that is paused, a process that a fault has stopped.

Source of the rules: domain_pause in Xen's common/domain.c.
"""

from collections.abc import Callable
from typing import Final

from hvsim.abi.errno import EAGAIN, EINVAL
from hvsim.hypervisor.domains import ALIVE, Domain, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.late import DEFERRED, Deferred
from hvsim.hypervisor.port import Port

SIGCONT: Final = 18
SIGSTOP: Final = 19
STOP_TIMEOUT: Final = 5_000_000_000
"""Nanoseconds until pausedomain gives up waiting for a process to stop, with -EAGAIN."""
STOP_LOOKS: Final = (50_000, 2_000_000)
"""Nanoseconds between two looks whether a process has stopped: at first, and at most."""


class Pauses:
    """Stops processes and lets them go on."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def pause(self, domain: Domain, caller: Process) -> Deferred | None:
        """Counted, as in Xen; done when nothing of the domain runs any more.

        A signal takes a moment to stop a process. Returns None when all have stopped, DEFERRED
        when they will: the caller is answered then. One that does not stop within STOP_TIMEOUT
        (it sits in the kernel) makes the answer -EAGAIN, and the pause is taken back.
        """
        domain.pause_count += 1
        self._apply_all(domain)

        def stopped() -> bool:
            over = domain.dying != ALIVE or domain.pause_count == 0
            return over or all(self._stands_still(one) for one in domain.processes.values())

        def take_back() -> None:
            domain.pause_count -= 1
            self._apply_all(domain)

        return self._answer_when(stopped, caller, [0], take_back)

    def release(self, domain: Domain) -> None:
        """Take one pause back.  Raises XenError(EINVAL) when it is not paused."""
        if domain.pause_count == 0:
            raise XenError(EINVAL)
        domain.pause_count -= 1
        self._apply_all(domain)

    def stall(self, process: Process, caller: Process) -> Deferred | None:
        """A fault: stop one process, whatever its domain's pause count. Answered as a pause is,
        with the pid."""
        process.stalled = True
        self.apply(process)
        return self._answer_when(
            lambda: not process.stalled or self._stands_still(process),
            caller,
            [0, process.pid],
            lambda: self.resume(process),
        )

    def resume(self, process: Process) -> None:
        """Let a stalled process go on, unless its domain is paused."""
        process.stalled = False
        self.apply(process)

    def apply(self, process: Process) -> None:
        """Stop a process, or let it go on, as its domain's pauses and its faults want it."""
        braked = any(process.brakes.values())
        wanted = process.stalled or braked or process.domain.pause_count > 0
        if wanted != process.stopped and process.pid and not process.gone:
            process.stopped = wanted
            self._port.host.signal(process.token, SIGSTOP if wanted else SIGCONT)

    def _stands_still(self, process: Process) -> bool:
        """Whether a process runs no instruction of its own. One that is being made will."""
        return process.gone or (bool(process.pid) and self._port.host.stopped(process.token))

    def _answer_when(
        self,
        stopped: Callable[[], bool],
        caller: Process,
        answer: list[object],
        take_back: Callable[[], None],
    ) -> Deferred | None:
        """None when something has stopped; else DEFERRED, and *answer* goes to the caller when it
        has, or -EAGAIN after STOP_TIMEOUT."""
        if stopped():
            return None
        host, address = self._port.host, caller.address
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

    def _apply_all(self, domain: Domain) -> None:
        for process in domain.processes.values():
            self.apply(process)
