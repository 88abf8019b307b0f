"""The part of ``xl devd`` that every driver domain needs: it removes a backend that has ended.

libxl in dom0 tells a backend of another domain to close (``online`` = 0, ``state`` = 5), and then
waits until that domain has removed the backend's directory; the domain may remove nothing above it.

Source: tools/libs/light/libxl_device.c (libxl__device_destroy, backend_watch_callback); what a real
driver domain removes is in recording 94.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.client import StoreError, Transaction

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain

ROOT: Final = "backend"
_ENDS: Final = re.compile(r"(backend/[a-z_0-9]+/[0-9]+/[0-9]+)/(?:state|online)")


def serve(dom: Domain) -> None:
    """Watch this domain's backends from now on.  Raises StoreError."""

    def changed(path: str) -> None:
        match = _ENDS.fullmatch(path)
        if match is not None:
            try:
                remove_ended(dom, match[1])
            except StoreError as error:
                dom.log(f"{match[1]}: removing it: {error}")

    dom.store.watch(ROOT, changed)


def remove_ended(dom: Domain, nodename: str) -> bool:
    """Remove a backend that is Closed and wanted no more; whether it was.  Raises StoreError.

    In a transaction: what the toolstack makes anew in the same place meanwhile stays.
    """

    def remove(tx: Transaction) -> bool:
        closed = f"{int(XenbusState.Closed)}"
        if not tx.exists(f"{nodename}/state") or not tx.exists(f"{nodename}/online"):
            return False
        if tx.read(f"{nodename}/state") != closed or tx.read(f"{nodename}/online") != "0":
            return False
        tx.rm(nodename)
        return True

    return dom.store.transaction(remove, f"removing {nodename}")
