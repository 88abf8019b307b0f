"""Where the vCPUs of a domain may run, and would like to.

Hard affinity is obeyed: the domain's processes run on the CPUs of its vCPU 0, which does all its
work.  Soft affinity is a wish that Xen's scheduler weighs; Linux' has nothing of the kind, so it is
kept and told, and that is all.

Source: vcpu_set_hard_affinity and vcpu_affinity_domctl in Xen's common/sched/core.c.
"""

from collections.abc import Sequence

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.errors import XenError


class Affinity:
    """The two masks of each vCPU; bit n is CPU n of the machine."""

    def __init__(self, vcpus: int, cpus: int) -> None:
        self._all = (1 << cpus) - 1
        self.hard = [self._all] * vcpus
        self.soft = [self._all] * vcpus

    def set(self, vcpu: int, hard: int | None, soft: int | None) -> tuple[int, int]:
        """Set one or both; returns what is in effect: within the machine, soft within hard.

        Raises: XenError(EINVAL): no such vCPU, or no CPU of the machine in a mask.
        """
        if not 0 <= vcpu < len(self.hard) or (hard is None and soft is None):
            raise XenError(EINVAL)
        for mask in (hard, soft):
            if mask is not None and not mask & self._all:
                raise XenError(EINVAL, "an affinity without a CPU of the machine")
        if hard is not None:
            self.hard[vcpu] = hard & self._all
        if soft is not None:
            self.soft[vcpu] = soft & self._all
        return self.hard[vcpu], self.soft[vcpu] & self.hard[vcpu]

    def get(self, vcpu: int) -> tuple[int, int]:
        """(hard, soft) as they were set.  Raises: XenError(EINVAL)."""
        if not 0 <= vcpu < len(self.hard):
            raise XenError(EINVAL)
        return self.hard[vcpu], self.soft[vcpu]

    @property
    def everywhere(self) -> bool:
        """Whether vCPU 0 may run on every CPU."""
        return self.hard[0] == self._all


def of_the_host(cpus: Sequence[int], ours: Sequence[int], count: int) -> list[int]:
    """The CPUs of the real machine, *ours*, that stand for *cpus* of *count* CPUs of the lab."""
    found = {ours[n] for n in range(len(ours)) if n % count in cpus}
    found |= {ours[cpu % len(ours)] for cpu in cpus}
    return sorted(found)
