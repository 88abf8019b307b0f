"""When dom0 is told that memory runs low (VIRQ_ENOMEM).

Once when fewer pages are left than the mark, and again at each half of it; not again at the same
mark before there was twice as much.

Source: check_low_mem_virq and setup_low_mem_virq in Xen's common/page_alloc.c; xen-lowmemd listens.
"""

from typing import Final

MARK: Final = 64 << 20 >> 12
"""Pages (64 MiB)."""


class LowMemory:
    """The mark, and where it stands now.

    Args:
        total: pages of the machine; the mark is half of them at most.
    """

    def __init__(self, total: int) -> None:
        self._highest = min(MARK, total // 2).bit_length() - 1
        self._order = self._highest

    def taken(self, free: int) -> bool:
        """Pages were taken and *free* are left: whether dom0 is to be told."""
        while self._order < self._highest and free >= 1 << (self._order + 2):
            self._order += 1
        if self._order < 0 or free > 1 << self._order:
            return False
        while self._order >= 0 and free <= 1 << self._order:
            self._order -= 1
        return True
