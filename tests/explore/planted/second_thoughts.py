"""A guest that asks to write somewhere and, while its backend is about it, somewhere else; and the
same guest without second thoughts."""

from __future__ import annotations

from collections.abc import Callable

from hvsim.abi.ring import slot_offset
from hvsim.domain import Domain
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.protocol import BlockError
from hvsim.drivers.block.request import WRITE, Request

SECTOR_AT = 16
"""Of blkif_request_t: sector_number."""


def main(dom: Domain) -> None:
    """Write until the shutdown request."""

    def thinks_again(disk: Disk, request: Request) -> None:
        dom.sleep(dom.dice.random() * 0.0002)
        if request.status is None:
            _redirect(disk)

    _write(dom, thinks_again)


def without(dom: Domain) -> None:
    """The same, and each request stays as it is."""
    _write(dom, lambda _disk, _request: None)


def _write(dom: Domain, meanwhile: Callable[[Disk, Request], None]) -> None:
    disk = BlockFront.open(dom, "xvda")
    dom.ready()
    while dom.shutdown_requested is None:
        request = disk.submit(WRITE, dom.dice.randrange(disk.sectors), data=bytes(512))
        meanwhile(disk, request)
        try:
            request.wait()
        except BlockError:
            dom.log("failed")
        else:
            dom.log("written")


def _redirect(disk: Disk) -> None:
    connection = disk.connection
    if connection is not None:
        ring = connection.ring
        at = slot_offset(ring.req_prod_pvt - 1, ring.size, ring.slot_size) + SECTOR_AT
        connection.page[at : at + 8] = (disk.sectors + 8).to_bytes(8, "little")
