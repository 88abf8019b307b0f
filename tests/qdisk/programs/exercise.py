"""A guest that asks its disk for everything a disk can do, and for what none must do.

Each answer is a console line ``answer <name>: <value>``; the test compares them.  What blkfront
itself would refuse goes on the ring as it is, behind the driver's back: while nothing else is on
its way the program fetches the answers from the ring itself.
"""

from __future__ import annotations

import hashlib
import time

from hvsim.abi.blkif import (
    Segment,
    pack_request,
    pack_request_discard,
    pack_request_indirect,
    pack_segments,
    unpack_response,
)
from hvsim.domain import Domain
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.request import FLUSH, READ, WRITE

ANSWER_TIMEOUT = 30.0
"""Seconds that the backend has for an answer; generous: the machine may be busy."""
PAGE = 4096
NOT_GRANTED = 4000


def main(dom: Domain) -> None:
    """Ask, tell, and stay until the shutdown request."""
    disk = BlockFront.open(dom, "xvda")
    try:
        polite(dom, disk)
        Raw(dom, disk).rude()
        polite(dom, disk, "again ")
    except Exception as failure:
        tell(dom, "failure", f"{type(failure).__name__}: {failure}")
        raise
    tell(dom, "done", "yes")
    dom.ready("answered")
    dom.wait(lambda: dom.shutdown_requested is not None, None, "the shutdown request")


def tell(dom: Domain, name: str, value: object) -> None:
    """One line for the test."""
    dom.log(f"answer {name}: {value}")


def polite(dom: Domain, disk: Disk, when: str = "") -> None:
    """What a guest of good manners does: pieces of all sizes, flush, discard."""
    tell(dom, f"{when}sectors", disk.sectors)
    tell(dom, f"{when}most segments", max(11, disk.features.max_indirect_segments))
    for pages in (1, 2, 11, 12, 256):
        data = pattern(pages)
        disk.write(8 * pages, data)
        disk.flush()
        tell(dom, f"{when}{pages} pages", disk.read(8 * pages, 8 * pages) == data)
    odd = pattern(3)[512:4608]
    disk.write(6003, odd)
    tell(dom, f"{when}across pages", disk.read(6003, 8) == odd)
    last = pattern(5)[:512]
    disk.write(disk.sectors - 1, last)
    tell(dom, f"{when}last sector", disk.read(disk.sectors - 1, 1) == last)
    # Whole clusters of a qcow2: of less it keeps the data, as a discard may be ignored.
    disk.write(8192, b"\xaa" * 32 * PAGE)
    disk.discard(8192, 256)
    tell(dom, f"{when}discarded", disk.read(8192, 256) == bytes(32 * PAGE))


def pattern(pages: int) -> bytes:
    """Bytes that say where they belong."""
    return b"".join(
        hashlib.sha256(f"{pages}.{part}".encode()).digest() for part in range(pages * PAGE // 32)
    )


class Raw:
    """Requests as they are."""

    def __init__(self, dom: Domain, disk: Disk) -> None:
        connection = disk.connection
        assert connection is not None, "it was opened"
        self._dom = dom
        self._disk = disk
        self._ring = connection.ring
        self._port = connection.port
        self._extent = dom.memory.allocate(2)
        gfns = [self._extent.gfn(0), self._extent.gfn(1)]
        self._data, self._frame = dom.grants.grant_many(connection.peer, gfns)
        self._next = 1 << 40

    def rude(self) -> None:
        """All that must be refused, and a read after each that must not."""
        end = self._disk.sectors
        page = Segment(self._data, 0, 7)
        nowhere = Segment(NOT_GRANTED, 0, 7)
        packed = pack_segments([page])
        self._extent.page(1)[: len(packed)] = packed
        for name, request in (
            ("read past the end", pack_request(READ, 0, 0, end - 7, [page])),
            ("write past the end", pack_request(WRITE, 0, 0, end, [page])),
            ("sector overflow", pack_request(READ, 0, 0, (1 << 64) - 8, [page])),
            ("read into a bad grant", pack_request(READ, 0, 0, 0, [nowhere])),
            ("write from a bad grant", pack_request(WRITE, 0, 0, 0, [page, nowhere])),
            ("first after last", pack_request(READ, 0, 0, 0, [Segment(self._data, 5, 4)])),
            ("beyond the page", pack_request(READ, 0, 0, 0, [Segment(self._data, 0, 8)])),
            ("reserved operation", pack_request(4, 0, 0, 0, [page])),
            ("unknown operation", pack_request(99, 0, 0, 0, [page])),
            ("twelve segments", _with_count(pack_request(READ, 0, 0, 0, [page] * 11), 12)),
            ("indirect", pack_request_indirect(READ, 0, 0, 0, 1, [self._frame])),
            ("discard past the end", pack_request_discard(0, 0, end, 8)),
            ("flush", pack_request(FLUSH, 0, 0, 0, [])),
        ):
            tell(self._dom, name, self._ask(request))
            good = self._ask(pack_request(READ, 0, 0, 8, [page]))
            right = bytes(self._extent.page(0)) == pattern(1)
            tell(self._dom, f"after {name}", good == 0 and right)

    def _ask(self, request: bytes) -> int:
        """The status of one request's answer."""
        number, self._next = self._next, self._next + 1
        # The id lies at 8 in each of the layouts.
        request = request[:8] + number.to_bytes(8, "little") + request[16:]
        self._ring.produce(request)
        if self._ring.push():
            self._dom.events.notify(self._port)
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while (answer := self._ring.consume()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {ANSWER_TIMEOUT:g} s")
            time.sleep(0.001)
        id_, _, status = unpack_response(answer)
        assert id_ == number, f"the answer to {id_}, not to {number}"
        return int(status)


def _with_count(request: bytes, count: int) -> bytes:
    return request[:1] + bytes([count]) + request[2:]
