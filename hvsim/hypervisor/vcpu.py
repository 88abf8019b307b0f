"""A virtual CPU: the run state it is in, since when, and the time it has spent in each.

Pure: every moment is handed in, as nanoseconds of system time.  What a *scheduler* of ours decides
is entered as it happens (:meth:`VCpu.enter`).  Where Linux schedules, its figures are taken over
from time to time (:meth:`VCpu.account`): running is CPU time, runnable is waiting for a CPU, and
what is left was blocked.

Either way no nanosecond is counted twice or lost, and no figure ever goes back: the four of them
add up to the age of the vCPU.

Source: xen/vcpu.h (RUNSTATE_*), vcpu_runstate_change in Xen's common/sched/core.c.
"""

from typing import Final

from hvsim.abi.vcpu import (
    RUNSTATE_blocked,
    RUNSTATE_offline,
    RUNSTATE_runnable,
    RUNSTATE_running,
    RunstateInfo,
)

_STATES: Final = range(4)
_FROM: Final = {
    RUNSTATE_running: (RUNSTATE_runnable, RUNSTATE_blocked, RUNSTATE_offline),
    RUNSTATE_runnable: (RUNSTATE_running, RUNSTATE_blocked, RUNSTATE_offline),
    RUNSTATE_blocked: (RUNSTATE_runnable, RUNSTATE_offline),
    RUNSTATE_offline: (RUNSTATE_runnable,),
}
"""From each state to which a scheduler may bring a vCPU: only what is runnable is run."""


class VCpu:
    """Run states of one vCPU, which is offline at first.

    Args:
        now: when it was made.

    Attributes:
        state: RUNSTATE_*.
        entered: when that was entered; of what Linux schedules, when it was seen.
        deadline: until when it is blocked; None for no limit, and in every other state.
    """

    __slots__ = ("_counted_at", "_queued", "_ran", "_spent", "deadline", "entered", "state")

    def __init__(self, now: int) -> None:
        self.state = RUNSTATE_offline
        self.entered = now
        self.deadline: int | None = None
        self._counted_at = now
        self._spent = [0, 0, 0, 0]
        self._ran = self._queued = 0

    def enter(self, state: int, now: int, deadline: int | None = None) -> None:
        """A scheduler brings the vCPU into another state, at *now*; to the same one is nothing new,
        but for a *deadline*.

        Raises: ValueError: no state leads there (a blocked vCPU is woken before it runs), *now* is
            before what is known already, or a deadline for what is not blocked.
        """
        if state not in _STATES or (state != self.state and state not in _FROM[self.state]):
            raise ValueError(f"a vCPU does not go from run state {self.state} to {state}")
        if now < self._counted_at:
            raise ValueError(f"run states at {self._counted_at} are known, and this is {now}")
        if deadline is not None and state != RUNSTATE_blocked:
            raise ValueError("only what is blocked has a deadline")
        self._spent[self.state] += now - self._counted_at
        self._see(state, now, deadline)

    def account(
        self, state: int, now: int, ran: int, queued: int, deadline: int | None = None
    ) -> None:
        """Take over what Linux has counted until *now*.

        Args:
            state: which it is in now.
            ran, queued: nanoseconds on a CPU and waiting for one, since its start.  What does not
                fit into the time since the last look (several threads run at once) is taken over
                later, when there is room.

        Raises: ValueError for a state that is none.
        """
        if state not in _STATES:
            raise ValueError(f"no run state {state}")
        now = max(now, self._counted_at)
        left = now - self._counted_at
        running = min(left, max(0, ran - self._ran))
        runnable = min(left - running, max(0, queued - self._queued))
        self._ran += running
        self._queued += runnable
        rest = RUNSTATE_offline if self.state == RUNSTATE_offline else RUNSTATE_blocked
        self._spent[RUNSTATE_running] += running
        self._spent[RUNSTATE_runnable] += runnable
        self._spent[rest] += left - running - runnable
        self._see(state, now, deadline if state == RUNSTATE_blocked else None)

    def is_due(self, now: int) -> bool:
        """Whether what it is blocked for has passed."""
        return self.deadline is not None and self.deadline <= now

    def runstate(self, now: int) -> RunstateInfo:
        """The record of it at *now*: the time since the last entry is its present state's."""
        spent = list(self._spent)
        spent[self.state] += max(0, now - self._counted_at)
        return RunstateInfo(self.state, self.entered, (spent[0], spent[1], spent[2], spent[3]))

    def _see(self, state: int, now: int, deadline: int | None) -> None:
        self._counted_at = now
        self.deadline = deadline
        if state != self.state:
            self.state, self.entered = state, now
