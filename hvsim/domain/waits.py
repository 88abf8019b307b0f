"""How a blocking client of the store waits within a domain: in the domain's vCPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hvsim.domain.vcpu import VCPU


class VCPUWaits:
    """Waits (``hvsim.xs.waits``) that are those of *vcpu*.  No handler runs meanwhile."""

    def __init__(self, vcpu: VCPU) -> None:
        self._vcpu = vcpu

    def now(self) -> float:
        """System time in seconds."""
        return self._vcpu.now()

    def pause(self, seconds: float) -> None:
        """Do nothing for so long."""
        self._vcpu.block_fd(-1, False, seconds)

    def close(self) -> None:
        """Nothing is open."""

    def ready(self, fd: int, write: bool, timeout: float | None) -> bool:
        """Wait until *fd* can be read (or, with *write*, written), at most *timeout* seconds.

        Raises: OSError when no descriptor is left.
        """
        mine = os.dup(fd)  # the domain's loop listens to the other
        try:
            return self._vcpu.block_fd(mine, write, timeout)
        finally:
            os.close(mine)
