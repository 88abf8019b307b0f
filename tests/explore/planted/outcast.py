"""A guest whose frontend is about to say nonsense, and which tells when it is not talked to any
more."""

from __future__ import annotations

from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.protocol import BlockBroken, BlockClosed


def main(dom: Domain) -> None:
    """Read until the backend has closed the device; then wait for the shutdown request."""
    disk = BlockFront.open(dom, "xvda")
    dom.ready()
    try:
        while dom.shutdown_requested is None:
            disk.read(0, 1)
            dom.sleep(0.001)
    except BlockBroken:
        pass  # it was answered what it had not asked
    except BlockClosed:
        while dom.shutdown_requested is None:
            dom.log("it was closed")
            dom.sleep(0.001)
    dom.serve()
