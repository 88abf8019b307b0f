"""What hypercalls need of a machine in lockstep, and nothing more."""

from typing import Protocol

from hvsim.hypervisor.domains import Process


class Lockstep(Protocol):
    """What a machine is in which one process runs at a time."""

    def park(self, process: Process, until: int) -> None:
        """A process waits in its vCPU, at most until its system time says that; -1: for ever.
        It is answered when it has its turn.

        Raises: XenError(EPERM) for one that takes no turns.
        """

    def open_gate(self, caller: Process, by: int, quiet: bool) -> None:
        """Let time go on by so many nanoseconds, or with *quiet* until nothing can happen before
        time goes on; answered then, behind those who came before.

        Raises: XenError(EBUSY) when too many wait.
        """

    def tape(self, start: int, count: int) -> tuple[int, dict[int, int]]:
        """How many choices there were, and those of *count* from *start* on that were not the
        first."""
