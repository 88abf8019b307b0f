"""The part of ``xl devd`` that every driver domain needs: it removes a backend that has ended, and
takes the time that a toolstack in dom0 needs to see what it waits for.

libxl in dom0 tells a backend of another domain to close (``online`` = 0, ``state`` = 5), waits
until it reads ``state`` = 6 there, and then until that domain has removed the backend's directory;
the domain may remove nothing above it.

It reads a state some time after it was told of a change, and one that has passed by then is an
error to it ("unable to add device with path", "unable to remove device with path").  A real devd
runs hotplug scripts, which take longer than that; what stands for them here takes none, so a state
that libxl waits for stays for LINGER.  hvsim's own toolstack needs no such time and says so in
MAKER, so that a driver domain that died is back as soon as it can be.

Source: tools/libs/light/libxl_device.c (libxl__device_destroy, backend_watch_callback); what a real
driver domain removes is in recording 94.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.xs.client import StoreError, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from hvsim.domain.domain import Domain
    from hvsim.domain.xenbus.device import BackendDevice

ROOT: Final = "backend"
MAKER: Final = ("toolstack", "hvsim")
"""The key of a backend's directory that says who made it, and its value for our toolstack."""
LINGER: Final = 1.0
"""Seconds for which a state can be read: milliseconds would do but for a busy machine.  libxl waits
10 s for either end (LIBXL_INIT_TIMEOUT, LIBXL_DESTROY_TIMEOUT)."""
_ENDS: Final = re.compile(r"(backend/[a-z_0-9]+/[0-9]+/[0-9]+)/(?:state|online)")


def serve(dom: Domain) -> None:
    """Watch this domain's backends from now on.  Raises StoreError."""
    lingering: set[str] = set()

    def changed(path: str) -> None:
        match = _ENDS.fullmatch(path)
        if match is None or match[1] in lingering:
            return
        nodename = match[1]
        try:
            ended = has_ended(dom, nodename)
        except StoreError as error:
            dom.log(f"{nodename}: looking whether it has ended: {error}")
            return
        if ended:
            lingering.add(nodename)
            dom.vcpu.call_later(LINGER, lambda: remove(nodename))

    def remove(nodename: str) -> None:
        lingering.discard(nodename)
        try:
            remove_ended(dom, nodename)
        except StoreError as error:
            dom.log(f"{nodename}: removing it: {error}")

    dom.store.watch(ROOT, changed)


def hotplug(device: BackendDevice, script: Callable[[], None]) -> None:
    """Run the *script* of a device in InitWait: at once for our own toolstack, otherwise when
    whoever waits for InitWait has had the time to see it.

    What *script* raises is the device's fatal error.  Raises StoreError.
    """
    key, ours = MAKER
    if device.read(key) == ours:
        script()
    else:
        device.call_later(LINGER, script)


def has_ended(dom: Domain, nodename: str) -> bool:
    """Whether a backend is Closed and wanted no more.  Raises StoreError."""
    return _ended(*dom.store.read_many([f"{nodename}/state", f"{nodename}/online"]))


def _ended(state: str | None, online: str | None) -> bool:
    return state == f"{int(XenbusState.Closed)}" and online == "0"


def remove_ended(dom: Domain, nodename: str) -> bool:
    """Remove a backend that is Closed and wanted no more; whether it was.  Raises StoreError.

    In a transaction: what the toolstack makes anew in the same place meanwhile stays.
    """

    def remove(tx: Transaction) -> bool:
        keys = [f"{nodename}/state", f"{nodename}/online"]
        if not all(map(tx.exists, keys)) or not _ended(*map(tx.read, keys)):
            return False
        tx.rm(nodename)
        return True

    return dom.store.transaction(remove, f"removing {nodename}")
