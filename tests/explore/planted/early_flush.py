"""FLUSH answered early: the backend says that all is on the disk, and puts it there later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from hvsim.abi.blkif import BLKIF_OP_FLUSH_DISKCACHE
from hvsim.domain.injection import Fault
from hvsim.drivers.block.service import Service
from hvsim.faults.inject.swap import swap

IDLE = 0.005
"""Seconds without a FLUSH after which it is done."""


def plant(fault: Fault) -> Callable[[], None]:
    """In a storage domain."""
    transfer = Service._transfer
    asked = 0

    def early(service: Service, operation: int, sector: int, segments: Sequence[Any]) -> None:
        nonlocal asked
        if operation != BLKIF_OP_FLUSH_DISKCACHE or segments:
            transfer(service, operation, sector, segments)
            return
        asked += 1
        number = asked

        def flush() -> None:
            if number == asked:
                with suppress(OSError):  # closed by now
                    service._image.flush()

        fault.domain.vcpu.call_later(IDLE, flush)

    return swap((Service, "_transfer", early))
