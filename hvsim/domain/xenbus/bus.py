"""The xenbus of a domain: finds devices in the store, gives them to drivers, takes them away.

What both buses share; ``frontends`` and ``backends`` have the two.  One watch on the root reports
every change below it; devices are made from what stands in the store then, never from what an
event seems to say.

Source: Linux ``drivers/xen/xenbus/xenbus_probe*.c``; the order of store operations is that of the
recordings of a real host.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.mapper import GrantError
from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus.device import Device
from hvsim.domain.xenbus.driver import Back, Front
from hvsim.domain.xenbus.state import parse_state
from hvsim.errors import Refused, TimedOut
from hvsim.xs.client import StoreClient, StoreError, StoreNotFound, Watch

D = TypeVar("D", bound=Device)
R = TypeVar("R", Front, Back)


class Bus(Generic[D, R]):
    """What both buses share.

    Attributes:
        store: the domain's store connection.
        vcpu: the domain's vCPU.
        log: where reports go.
        devices: nodename -> device, in the order they appeared.
        drivers: nodename -> driver, for the devices that have one.
    """

    root: str
    levels: int
    """How many path components name a device: 3 for ``device/vbd/51712``."""

    def __init__(self, store: StoreClient, vcpu: VCPU, log: Callable[[str], None]) -> None:
        self.store = store
        self.vcpu = vcpu
        self.log = log
        self.devices: dict[str, D] = {}
        self.drivers: dict[str, R] = {}
        self._factories: dict[str, Callable[[], R]] = {}
        self._watch: Watch | None = None

    # -- for programs ------------------------------------------------------------------------

    def register(self, devicetype: str, factory: Callable[[], R]) -> None:
        """Give devices of *devicetype* ("vbd") to drivers made by *factory*, those that are
        there at once.

        Raises: ValueError when the type has a driver.
        """
        if devicetype in self._factories:
            raise ValueError(f"{self.root}/{devicetype} has a driver")
        self._factories[devicetype] = factory
        for device in [d for d in self.devices.values() if d.devicetype == devicetype]:
            self._bind(device)

    def start(self) -> None:
        """Set the watch and take the devices that are there.  Raises StoreError."""
        if self._watch is None:
            # The watch comes first: what appears while we scan is reported again.
            self._watch = self.store.watch(self.root, self._changed)
            self._scan(self.root)

    def stop(self) -> None:
        """Remove every device (drivers' ``removed`` run) and the watch.  Writes no state."""
        for device in reversed(list(self.devices.values())):
            self._detach(device)
        if self._watch is not None:
            self.store.unwatch(self._watch)
            self._watch = None

    # -- for devices -------------------------------------------------------------------------

    def remove_device(self, device: Device) -> None:
        """Take *device* off the bus; see ``Device.unregister``."""
        if self.devices.get(device.nodename) is not device:
            return
        self._detach(device)
        try:
            # The toolstack forced Closing and waits for Closed.
            if device.read_state() == XenbusState.Closing:
                device.switch_state(XenbusState.Closed)
        except StoreError as error:
            self.log(f"{device.nodename}: {error}")

    def otherend_event(self, device: Device) -> None:
        """The watch on the other end's state fired: read it and tell the driver."""
        driver = self.drivers.get(device.nodename)
        if driver is None:
            return

        def tell() -> None:
            device.otherend_state = device.read_otherend_state()
            driver.otherend_changed(device.otherend_state)

        self.guard(device, tell)

    def guard(self, device: Device, fn: Callable[[], None]) -> bool:
        """Run driver code for *device*; what it raises is the device's fatal error and nobody
        else's: a peer that makes its driver stumble loses its own device.

        Returns whether *fn* went through.
        """
        try:
            fn()
        except Exception as failure:  # the boundary between one device and all others
            device.fatal(*self._explain(failure))
            return False
        return True

    # -- the watch ---------------------------------------------------------------------------

    def _changed(self, path: str) -> None:
        """Something below the root changed (or the watch was just set)."""
        try:
            self._look(path)
        except StoreError as error:
            self.log(f"xenbus: looking at {path}: {error}")

    def _look(self, path: str) -> None:
        parts = path.split("/")
        if len(parts) < self.levels:
            below = [n for n in self.devices if n.startswith(path + "/")]
            if below and not self.store.exists(path):
                for nodename in below:
                    self._gone(nodename)
            return
        nodename = "/".join(parts[: self.levels])
        device = self.devices.get(nodename)
        if device is None:
            self._probe_node(nodename)
        elif path == nodename:
            self._directory_changed(device)
        else:
            key = "/".join(parts[self.levels :])
            device.key_changed(key)
            self._key_changed(device, key)

    def _directory_changed(self, device: D) -> None:
        """The directory itself was made, removed, or given other permissions."""
        text = device.read("state")
        if text is None:
            self._gone(device.nodename)
        elif parse_state(text) == XenbusState.Initialising != device.state:
            self._renewed(device)

    def _key_changed(self, device: D, key: str) -> None:
        """A key of a known device was written."""

    def _renewed(self, device: D) -> None:
        """A known device stands in the store as new: it was removed and made again before we
        looked."""
        self._detach(device)
        self._probe_node(device.nodename)

    def _scan(self, path: str) -> None:
        for name in self._directory(path):
            child = f"{path}/{name}"
            if child.count("/") + 1 == self.levels:
                self._probe_node(child)
            else:
                self._scan(child)

    def _directory(self, path: str) -> list[str]:
        try:
            return self.store.directory(path)
        except StoreNotFound:
            return []

    # -- devices -------------------------------------------------------------------------------

    def _make(self, nodename: str, devicetype: str) -> D:
        raise NotImplementedError

    def _probe_node(self, nodename: str) -> None:
        """Make a device of a directory whose state is Initialising; others are not new."""
        if nodename in self.devices:
            return
        (text,) = self.store.read_many([f"{nodename}/state"])
        if parse_state(text) != XenbusState.Initialising:
            return
        device = self._make(nodename, nodename.split("/")[1])
        self.devices[nodename] = device
        self._bind(device)

    def _bind(self, device: D) -> None:
        """Give *device* to a new driver of its type, if there is one."""
        factory = self._factories.get(device.devicetype)
        if factory is None or device.nodename in self.drivers:
            return
        try:
            device.read_otherend_details()
            driver = factory()
            self.drivers[device.nodename] = driver
            driver.probe(device)  # type: ignore[arg-type]  # R belongs to D: see the subclasses
        except Exception as failure:  # the boundary between one device and all others
            self._refuse(device, failure)
            return
        if device.registered:
            self.guard(device, device.watch_otherend)

    def _refuse(self, device: D, failure: Exception) -> None:
        """A device that could not be probed: error node, no driver, Closed (as Linux does)."""
        device.error(*self._explain(failure))
        self._release(device)
        try:
            device.switch_state(XenbusState.Closed)
        except StoreError as error:
            self.log(f"{device.nodename}: {error}")

    def _gone(self, nodename: str) -> None:
        device = self.devices.get(nodename)
        if device is not None:
            self._detach(device)

    def _detach(self, device: Device) -> None:
        self._release(device)
        self.devices.pop(device.nodename, None)

    def _release(self, device: Device) -> None:
        """Watches first, so that the driver hears nothing any more; then the driver."""
        device.drop_watches()
        driver = self.drivers.pop(device.nodename, None)
        if driver is None:
            return
        try:
            driver.removed()
        except Exception as failure:  # the boundary between one device and all others
            self.log(f"{device.nodename}: removing the driver: {self._explain(failure)[1]}")

    def _explain(self, failure: Exception) -> tuple[int, str]:
        """(errno, message) of what driver code raised; a bug leaves its traceback in the log."""
        if isinstance(failure, GrantError | TimedOut | Refused):
            number = failure.errno if isinstance(failure, Refused) else errno.EIO
            text = failure.strerror if isinstance(failure, Refused) else str(failure)
            return number or errno.EIO, text or str(failure)
        if isinstance(failure, OSError):
            return failure.errno or errno.EIO, str(failure)
        self.log("".join(traceback.format_exception(failure)).rstrip())
        return errno.EINVAL, f"{type(failure).__name__}: {failure}"
