"""``backend``: the devices that this domain serves, relative to its own path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus.bus import Bus
from hvsim.domain.xenbus.device import BackendDevice
from hvsim.domain.xenbus.driver import Back
from hvsim.xs.client import StoreClient

SERVES_KEY: Final = "data/serves"
"""Where a domain says which classes of devices it serves, with blanks between them."""


class BackendBus(Bus[BackendDevice, Back]):
    """``backend``: the devices that this domain serves.

    Args:
        announce: say in SERVES_KEY which classes these are, so that whoever asks this domain for
            another one need not wait for it in vain.
    """

    root = "backend"
    levels = 4

    def __init__(
        self, store: StoreClient, vcpu: VCPU, log: Callable[[str], None], announce: bool = False
    ) -> None:
        super().__init__(store, vcpu, log)
        self._announce = announce

    def register(self, devicetype: str, factory: Callable[[], Back]) -> None:
        """As ``Bus.register``."""
        super().register(devicetype, factory)
        if self._announce:
            self.store.write(SERVES_KEY, " ".join(self._factories))

    def _make(self, nodename: str, devicetype: str) -> BackendDevice:
        return BackendDevice(self, nodename, devicetype)
