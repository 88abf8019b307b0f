"""A real SQLite database on a virtual disk, committing until it is told to stop.

Each transaction inserts a batch of rows (`domains.guests.ledger`) with ``synchronous = FULL``;
when SQLite says that it is committed, and only then, the console line ``commit <n>`` tells the
world. Whoever reads that line may rely on batch n.

Options, on the command line of the guest:

    disk=xvda     the vbd; blank, or with the volume of an earlier run, which is continued
    rows=4        rows of a transaction         size=200     bytes of a row's payload
    rate=0        transactions a second at most, 0: as many as the disk takes
    pause=0       seconds between a transaction and the next
    commits=0     stop after so many, 0: at the shutdown request
    timeout=30    seconds to wait for the disk
"""

from __future__ import annotations

import apsw

from domains.guests.device import FrontDevice
from domains.guests.ledger import ACKNOWLEDGEMENT, DATABASE, INSERT, SCHEMA, row
from domains.guests.options import option, words
from domains.guests.vfs import VolumeVFS
from domains.guests.volume import Volume
from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront

PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",  # one user: spares a look at the journal per transaction
    "PRAGMA journal_mode = PERSIST",  # the journal keeps its region; a commit zeroes its header
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",
)


class Ledger:
    """The open database. ``batch`` is the last batch that is committed, 0 at first."""

    def __init__(self, vfs: str, name: str = DATABASE) -> None:
        self._connection = apsw.Connection(name, vfs=vfs)
        try:
            for pragma in PRAGMAS:
                self._connection.execute(pragma).fetchall()
            self._connection.execute(SCHEMA)
            self.seq = self._highest("seq")
            self.batch = self._highest("batch")
        except BaseException:
            self._connection.close(True)
            raise

    def commit(self, rows: int, size: int) -> int:
        """Insert one batch; its number, once it is durable.

        Raises: apsw.Error; the batch is then rolled back, or unknown when that failed too.
        """
        batch = self.batch + 1
        seqs = range(self.seq + 1, self.seq + 1 + rows)
        with self._connection:
            self._connection.executemany(INSERT, [row(seq, batch, rows, size) for seq in seqs])
        self.batch, self.seq = batch, self.seq + rows
        return batch

    def _highest(self, column: str) -> int:
        [[value]] = self._connection.execute(f"SELECT max({column}) FROM ledger").fetchall()
        return int(str(value)) if value is not None else 0

    def close(self) -> None:
        """End the connection. Raises: apsw.Error of a disk that fails; it is closed then too."""
        self._connection.close()


def main(dom: Domain) -> None:
    """Open the disk, be ready, commit until the shutdown request."""
    found = words(dom)
    rows = max(1, option(found, "rows", 4))
    size = option(found, "size", 200)
    rate = option(found, "rate", 0.0)
    pause = option(found, "pause", 0.0)
    commits = option(found, "commits", 0)
    disk = option(found, "disk", "xvda")
    front = BlockFront.open(dom, disk, option(found, "timeout", 30.0))
    vfs = VolumeVFS(f"volume-{disk}", Volume(FrontDevice(front)))
    ledger = Ledger(vfs.name)
    try:
        dom.log(f"database: on {disk}, {front.sectors} sectors, {ledger.batch} batches found")
        dom.ready(f"database on {disk}")
        last = ledger.batch + commits if commits else None
        while dom.shutdown_requested is None and ledger.batch != last:
            due = dom.vcpu.now() + (1.0 / rate if rate > 0 else 0.0)
            batch = ledger.commit(rows, size)
            dom.log(f"{ACKNOWLEDGEMENT}{batch}")
            rest = max(due - dom.vcpu.now(), pause)
            if rest > 0:
                dom.sleep(rest)
    finally:
        ledger.close()
        vfs.unregister()
    dom.log(f"database: {ledger.batch} batches committed")
