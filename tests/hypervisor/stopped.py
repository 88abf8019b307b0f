"""Whether a process stands still, in one look."""

from hvsim.hypervisor.processes import halted


def is_stopped(pid: int) -> bool:
    """Whether no thread of a process runs any more."""
    return all(state is not False for state in halted(pid))
