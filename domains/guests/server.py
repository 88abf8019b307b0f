"""The database guest of the three tiers: commits when it is asked over TCP.

The same ledger on the same kind of disk as `domains.guests.database`, but nothing is committed on
its own account: each line ``commit`` of a connection is answered with ``committed <n>`` once batch
n is durable. Requests of all connections are done one after the other.

Options: disk, rows, size, timeout as in `database`; port=5432.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from domains.guests.database import Ledger
from domains.guests.device import FrontDevice
from domains.guests.options import option, words
from domains.guests.sockets import Connection, Listener
from domains.guests.tiers import COMMIT, COMMITTED, DATABASE_PORT, Lines
from domains.guests.vfs import VolumeVFS
from domains.guests.volume import Volume
from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront
from hvsim.errors import BrokenByPeer

WAITING_MAX: Final = 256
"""Requests that may wait; a connection that asks for more is closed."""


class Server:
    """Takes requests; `work` does them."""

    def __init__(self, dom: Domain, ledger: Ledger, rows: int, size: int) -> None:
        self.waiting: deque[Connection] = deque()
        self._dom = dom
        self._ledger = ledger
        self._rows = rows
        self._size = size

    def accept(self, connection: Connection) -> None:
        """Somebody has connected."""
        lines = Lines()

        def received(piece: bytes) -> None:
            try:
                for line in lines.feed(piece):
                    if line + b"\n" != COMMIT or len(self.waiting) >= WAITING_MAX:
                        raise BrokenByPeer(f"{line[:40]!r} is not done here")
                    self.waiting.append(connection)
            except BrokenByPeer as error:
                self._dom.log(f"database: {connection.peer}: {error}")
                connection.close()

        connection.received = received
        connection.closed = lambda why: self._dom.log(f"database: {connection.peer} left: {why}")

    def work(self) -> None:
        """Do what waits.  Raises: apsw.Error of a disk that fails."""
        while self.waiting and self._dom.shutdown_requested is None:
            connection = self.waiting.popleft()
            if connection.open:
                batch = self._ledger.commit(self._rows, self._size)
                connection.send(COMMITTED + b"%d\n" % batch)


def main(dom: Domain) -> None:
    """Open the disk, listen, serve until the shutdown request."""
    found = words(dom)
    disk = option(found, "disk", "xvda")
    front = BlockFront.open(dom, disk, option(found, "timeout", 30.0))
    vfs = VolumeVFS(f"volume-{disk}", Volume(FrontDevice(front)))
    ledger = Ledger(vfs.name)
    try:
        server = Server(dom, ledger, max(1, option(found, "rows", 4)), option(found, "size", 200))
        listener = Listener(dom, option(found, "port", DATABASE_PORT), server.accept)
        dom.log(f"database: on {disk}, port {listener.port}, {ledger.batch} batches found")
        dom.ready(f"database on {disk}, port {listener.port}")
        while dom.shutdown_requested is None:
            dom.vcpu.block()
            dom.vcpu.dispatch()
            server.work()
        listener.close()
    finally:
        ledger.close()
        vfs.unregister()
    dom.log(f"database: {ledger.batch} batches committed")
