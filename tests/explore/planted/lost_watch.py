"""A watch lost at reconnect: a frontend that was moved to another backend reads its state first,
and watches it from then on.  What was written in between is never heard of."""

from __future__ import annotations

from collections.abc import Callable

from hvsim.domain.injection import Fault
from hvsim.domain.xenbus.device import FrontendDevice
from hvsim.faults.inject.swap import swap

LATER = 0.0015
"""Seconds until the watch is set, by a work item of its own."""


def plant(_fault: Fault) -> Callable[[], None]:
    """In a guest."""

    watch_otherend, moved = FrontendDevice.watch_otherend, set[str]()

    def read_first(device: FrontendDevice) -> None:
        if device.path("") not in moved:  # its first backend
            moved.add(device.path(""))
            watch_otherend(device)
            return
        events = 0

        def fired(_path: str) -> None:
            nonlocal events
            events += 1
            if events > 1 and device.registered:  # the first is the registration's own
                device._bus.otherend_event(device)

        def watch() -> None:
            device._otherend_watch = device.store.watch(device.otherend_path("state"), fired)

        device._bus.otherend_event(device)
        device.call_later(LATER, watch)

    return swap((FrontendDevice, "watch_otherend", read_first))
