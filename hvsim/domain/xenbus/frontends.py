"""``device``: the devices that this domain uses, relative to its own path.

What is more than finding and taking away (``bus``): a device that is moved to another backend
stays with its driver, and all are closed in order at a shutdown.
"""

from __future__ import annotations

from typing import Final

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.bus import Bus
from hvsim.domain.xenbus.device import FrontendDevice
from hvsim.domain.xenbus.driver import Front
from hvsim.domain.xenbus.state import parse_state
from hvsim.errors import Refused, TimedOut
from hvsim.xs.client import StoreError

CLOSE_TIMEOUT: Final = 5.0
"""Seconds a shutdown waits for its devices to close, as Linux' ``xenbus_dev_shutdown``."""


class FrontendBus(Bus[FrontendDevice, Front]):
    """``device``: the devices that this domain uses."""

    root = "device"
    levels = 3

    def _make(self, nodename: str, devicetype: str) -> FrontendDevice:
        return FrontendDevice(self, nodename, devicetype)

    def _key_changed(self, device: FrontendDevice, key: str) -> None:
        if device.nodename not in self.drivers:
            # Refused before, e.g. because the backend was away; made anew it gets a new chance.
            if key == "state":
                self._directory_changed(device)
        elif key == "backend":
            self._look_for_move(device)

    def _renewed(self, device: FrontendDevice) -> None:
        if not self._look_for_move(device):
            super()._renewed(device)

    def _look_for_move(self, device: FrontendDevice) -> bool:
        """Whether ``backend`` names another place now; the driver is told then."""
        driver = self.drivers.get(device.nodename)
        path = device.read("backend")
        if driver is None or not path:
            return False
        if path == device.otherend and not self._begins_again(device):
            return False

        device.unwatch_otherend()
        device.otherend_state = XenbusState.Unknown
        try:
            device.read_otherend_details()
        except (Refused, StoreError) as error:
            # That backend has gone again before we looked.  Nothing is lost: the driver keeps
            # what it has until ``backend`` names one that exists.
            self.log(f"{device.nodename}: moved to {path}, which is not there: {error}")
            return True

        def move() -> None:
            device.state = device.read_state()
            driver.backend_moved()
            if device.registered:
                device.watch_otherend()

        self.guard(device, move)
        return True

    def _begins_again(self, device: FrontendDevice) -> bool:
        """Whether the toolstack put a device that is in use back to its beginning, because the
        program behind its backend is another one.

        The directory is still the one that the driver published its ring in; one that was
        removed and made anew is empty of that, and another device.
        """
        if device.state == XenbusState.Initialising:
            return False
        state, *published = device.read_many(["state", "event-channel", "event-channel-tx"])
        return parse_state(state) == XenbusState.Initialising and any(published)

    def close_all(self, timeout: float = CLOSE_TIMEOUT) -> list[str]:
        """Close every Connected device in order, the last that came first, one after another.

        *timeout* bounds all of them together.  Returns the names of the devices that did not
        reach Closed.  Raises: RuntimeError inside a handler.
        """
        deadline = self.vcpu.now() + timeout
        late: list[str] = []
        for nodename in reversed(list(self.devices)):
            device = self.devices.get(nodename)
            driver = self.drivers.get(nodename)
            if device is None or driver is None or device.state != XenbusState.Connected:
                continue
            if not self.guard(device, driver.close):
                continue
            if not self._wait_closed(device, max(0.0, deadline - self.vcpu.now())):
                self.log(f"{nodename}: timeout closing device")
                late.append(nodename)
        return late

    def _wait_closed(self, device: FrontendDevice, timeout: float) -> bool:
        def closed() -> bool:
            return device.state == XenbusState.Closed or not device.registered

        try:
            self.vcpu.run_until(closed, timeout, f"{device.nodename} to reach Closed")
        except TimedOut:
            return False
        return True
