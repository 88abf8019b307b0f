"""A verifying load on a virtual disk: random reads and writes, every byte of every read checked.

Each write fills its sectors with a pattern that follows from seed, sector and generation, and the
program remembers which generation it wrote last; a read must return exactly that. So stale data,
swapped sectors and torn writes that the disk presents as whole all show. A mismatch is said on
the console and ends the guest as crashed.

Options, on the command line of the guest:

    disk=xvda     the vbd; its first `area` KiB are overwritten
    area=4096     KiB to work in                seed=1       of patterns and of the choices
    depth=8       requests on their way at once
    reads=70      percent of the requests that read
    flush=50      a flush after so many writes, 0: never
    requests=0    stop after so many, 0: at the shutdown request
    rate=0        requests a second at most, 0: as many as the disk takes
    report=5      seconds between two lines of counters on the console
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from domains.guests.options import option, words
from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.domain import Domain
from hvsim.domain.dice import seeded
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.request import FLUSH, READ, WRITE, Request

MAX_SECTORS: Final = 64
"""Longest request: 32 KiB, which takes an indirect request or several direct ones."""


class Mismatch(Exception):
    """A read returned something else than what was written last."""


def sector_pattern(seed: int, sector: int, generation: int) -> bytes:
    """The 512 bytes of a sector in its n-th generation."""
    key = b"%d/%d/%d" % (seed, sector, generation)
    return hashlib.shake_128(key).digest(SECTOR_SIZE)


class Pattern:
    """What every sector of the area should hold. Pure: no disk, no clock, no dice."""

    def __init__(self, seed: int, sectors: int) -> None:
        self._seed: Final = seed
        self._generation: Final = [0] * sectors

    def next_write(self, sector: int, count: int) -> bytes:
        """New content for these sectors, which is expected of them from now on."""
        for position in range(sector, sector + count):
            self._generation[position] += 1
        return self.expected(sector, count)

    def expected(self, sector: int, count: int) -> bytes:
        """What a read of these sectors must return."""
        return b"".join(
            sector_pattern(self._seed, position, self._generation[position])
            for position in range(sector, sector + count)
        )

    def check(self, sector: int, expected: bytes, found: bytes) -> None:
        """Raises Mismatch that names the first bad sector and what is in it instead, if known."""
        if found == expected:
            return
        if len(found) != len(expected):
            raise Mismatch(f"sector {sector}: {len(found)} bytes instead of {len(expected)}")
        for index in range(0, len(expected), SECTOR_SIZE):
            bad = found[index : index + SECTOR_SIZE]
            if bad != expected[index : index + SECTOR_SIZE]:
                position = sector + index // SECTOR_SIZE
                raise Mismatch(f"sector {position}: {self._describe(position, bad)}")

    def _describe(self, sector: int, data: bytes) -> str:
        last = self._generation[sector]
        for generation in range(last, -1, -1):
            if data == sector_pattern(self._seed, sector, generation):
                return f"generation {generation} where the last written is {last}"
        return "zeros" if not any(data) else f"unknown bytes {data[:16].hex()}..."


class Disk(Protocol):
    """What is used of BlockFront here."""

    def submit(
        self, op: int, sector: int = 0, nr_sectors: int = 0, *, data: bytes = b""
    ) -> Request:
        """Begin a request."""


@dataclass
class Counters:
    """What has been done and verified."""

    reads: int = 0
    writes: int = 0
    flushes: int = 0
    sectors_read: int = 0
    sectors_written: int = 0

    def __str__(self) -> str:
        return (
            f"load: {self.reads} reads ({self.sectors_read} sectors verified), "
            f"{self.writes} writes ({self.sectors_written} sectors), {self.flushes} flushes"
        )


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request on its way; *expected* is what a read must bring."""

    request: Request
    sector: int
    count: int
    writes: bool = False
    expected: bytes = b""


class Load:
    """The load on one disk; ``step`` submits one request and finishes the oldest beyond depth."""

    def __init__(
        self, disk: Disk, sectors: int, seed: int, depth: int, reads: int, flush: int
    ) -> None:
        self.counters: Final = Counters()
        self._disk: Final = disk
        self._sectors: Final = sectors
        self._dice: Final = seeded(seed)
        self._pattern: Final = Pattern(seed, sectors)
        self._depth: Final = max(1, depth)
        self._reads: Final = reads / 100
        self._flush: Final = flush
        self._pending: deque[_Pending] = deque()

    def fill(self) -> None:
        """Write the whole area once, so that every later read has something to be checked with."""
        for sector in range(0, self._sectors, MAX_SECTORS):
            self._write(sector, min(MAX_SECTORS, self._sectors - sector))
        self.drain()

    def step(self) -> None:
        """One random request. Raises: Mismatch; BlockError and WaitTimeout of the disk."""
        count = self._dice.randint(1, min(MAX_SECTORS, self._sectors))
        sector = self._dice.randrange(self._sectors - count + 1)
        if self._dice.random() < self._reads:
            self._settle(sector, count, writing=False)
            expected = self._pattern.expected(sector, count)
            read = self._disk.submit(READ, sector, count)
            self._submit(_Pending(read, sector, count, expected=expected))
        else:
            self._write(sector, count)
            if self._flush and self.counters.writes % self._flush == 0:
                self.counters.flushes += 1
                self._submit(_Pending(self._disk.submit(FLUSH), 0, 0))

    def drain(self) -> None:
        """Finish and check everything that is on its way."""
        while self._pending:
            self._finish()

    def _write(self, sector: int, count: int) -> None:
        self._settle(sector, count, writing=True)
        data = self._pattern.next_write(sector, count)
        self.counters.writes += 1
        self.counters.sectors_written += count
        write = self._disk.submit(WRITE, sector, data=data)
        self._submit(_Pending(write, sector, count, writes=True))

    def _settle(self, sector: int, count: int, *, writing: bool) -> None:
        """Finish what is on its way to the same sectors, unless both only read: no disk promises
        an order between requests that it has at the same time, and QEMU's keeps none."""
        last = 0
        for number, one in enumerate(self._pending, 1):
            apart = one.sector + one.count <= sector or sector + count <= one.sector
            if not apart and (writing or one.writes):
                last = number
        for _ in range(last):
            self._finish()

    def _submit(self, pending: _Pending) -> None:
        self._pending.append(pending)
        if len(self._pending) > self._depth:
            self._finish()

    def _finish(self) -> None:
        one = self._pending.popleft()
        one.request.wait()
        if one.expected:
            self._pattern.check(one.sector, one.expected, one.request.result())
            self.counters.reads += 1
            self.counters.sectors_read += one.count


def main(dom: Domain) -> None:
    """Fill the area, be ready, load until the shutdown request."""
    found = words(dom)
    limit = option(found, "requests", 0)
    report = option(found, "report", 5.0)
    rate = option(found, "rate", 0.0)
    disk = BlockFront.open(dom, option(found, "disk", "xvda"))
    sectors = min(disk.sectors, option(found, "area", 4096) * 1024 // SECTOR_SIZE)
    load = Load(
        disk,
        sectors,
        option(found, "seed", 1),
        option(found, "depth", 8),
        option(found, "reads", 70),
        option(found, "flush", 50),
    )
    load.fill()
    dom.ready(f"load on {sectors} sectors")
    due = dom.vcpu.now() + report
    done = 0
    while dom.shutdown_requested is None and (not limit or done < limit):
        load.step()
        done += 1
        if dom.vcpu.now() >= due:
            due += report
            dom.log(str(load.counters))
        if rate > 0:
            dom.sleep(1.0 / rate)
    load.drain()
    dom.log(str(load.counters))
