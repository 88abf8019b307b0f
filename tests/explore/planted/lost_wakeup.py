"""A final check without barrier: "wake me" is seen by the frontend only after the backend sleeps.

What a processor does that holds the store of ``req_event`` back beyond the load of ``req_prod``
after it: whoever publishes in between does not ring, and nobody looks again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hvsim.abi.ring import REQ_EVENT
from hvsim.domain.injection import Fault
from hvsim.drivers.block.service import Service
from hvsim.faults.inject.swap import swap

HELD = 20e-6
"""Seconds for which the store is held back: until the backend's next turn at least."""


def plant(fault: Fault) -> Callable[[], None]:
    """In a storage domain."""
    goes_on = Service.goes_on

    def put(ring: Any, index: int) -> int:
        with ring.page as page, page[:64] as head, head.cast("I") as words:
            before = int(words[REQ_EVENT // 4])
            words[REQ_EVENT // 4] = index
        return before

    def seen_late(service: Service, count: int) -> bool:
        ring = service._ring
        with ring.page as page, page[:64] as head, head.cast("I") as words:
            before = int(words[REQ_EVENT // 4])
        if goes_on(service, count):
            return True
        wanted = put(ring, before)

        def seen() -> None:
            with suppress(ValueError):  # the ring has gone
                put(ring, wanted)

        fault.domain.vcpu.call_later(HELD, seen)
        return False

    return swap((Service, "goes_on", seen_late))
