"""A guest that reads eight pages at once, page by page granted anew, and tells of each."""

from __future__ import annotations

from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.protocol import BlockError

SECTORS = 64


def main(dom: Domain) -> None:
    """Read until the shutdown request."""
    disk = BlockFront.open(dom, "xvda")
    dom.ready()
    while dom.shutdown_requested is None:
        try:
            disk.read(0, SECTORS)
        except BlockError:
            dom.log("failed")
        else:
            dom.log("read")
        dom.sleep(0.0005)
