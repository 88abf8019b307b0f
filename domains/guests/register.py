"""Registers on a virtual disk: each is one sector, written and read by number, and every operation
is told on the console with the moments of its beginning and its end.

The console's lines are the history of what this client was told; whether there is an order in which
a register could have answered so is judged outside (`hvsim.faults.checkers.linearizable`).  Reads
of a register overlap its writes; two writes of one register never do, as no disk promises an order
between requests that it has at the same time.  A write is told when it and a flush after it are
done.

    register 2 write 17 1.250113 0.000000 begun
    register 2 write 17 1.250113 1.251890 ok

Options, on the command line of the guest:

    disk=xvda       the vbd                       first=0     sector of the first register
    registers=4     how many                      depth=4     operations on their way at once
    reads=60        percent that read             seed=1      of the choices
    rate=200        operations a second at most, 0: as many as the disk takes
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from domains.guests.options import option, words
from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.domain import Domain
from hvsim.domain.dice import seeded
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.protocol import BlockError
from hvsim.drivers.block.request import FLUSH, READ, WRITE, Request

MAGIC: Final = b"HVSIMREG"
_HEAD: Final = struct.Struct("<8sIIQ")
_LINE: Final = re.compile(
    r"register (\d{1,9}) (read|write) (-?\d{1,18}) (\d{1,12}\.\d{6}) (\d{1,12}\.\d{6}) (\w{2,12})"
)
_LIFE: Final = 1_000_000
"""Values of one life of the guest; the next begins above those that it finds."""

PATIENCE: Final = 3600.0
"""Seconds for one request: a disk that stands still is waited for."""


class Event(NamedTuple):
    """A line of the console.

    Attributes:
        outcome: "begun" (a write), "ok", "failed"; of a read also "foreign" (a value of another
            register) or "damaged" (no value at all).
    """

    register: int
    writes: bool
    value: int
    begun: float
    ended: float
    outcome: str

    def __str__(self) -> str:
        verb = "write" if self.writes else "read"
        moments = f"{self.begun:.6f} {self.ended:.6f}"
        return f"register {self.register} {verb} {self.value} {moments} {self.outcome}"


def event(line: str) -> Event | None:
    """The event that a line of the console tells of, None for any other line."""
    match = _LINE.search(line)
    if match is None:
        return None
    register, verb, value, begun, ended, outcome = match.groups()
    return Event(int(register), verb == "write", int(value), float(begun), float(ended), outcome)


def sector(register: int, value: int) -> bytes:
    """What the sector of a register holds: every byte follows from register and value."""
    if not value:
        return bytes(SECTOR_SIZE)
    head = _HEAD.pack(MAGIC, register, 0, value)
    return head + hashlib.shake_128(head).digest(SECTOR_SIZE - len(head))


def value_in(register: int, data: bytes) -> tuple[int, str]:
    """The value that a sector holds, and "ok", "foreign" or "damaged"."""
    if not any(data):
        return 0, "ok"
    magic, owner, _, value = _HEAD.unpack_from(data)
    if magic != MAGIC or data != sector(owner, value) or value >= 1 << 59:
        return -1, "damaged"
    return value, "ok" if owner == register else "foreign"


class Disk(Protocol):
    """What is used of blkfront's disk here."""

    def submit(
        self, op: int, sector: int = 0, nr_sectors: int = 0, *, data: bytes = b""
    ) -> Request:
        """Begin a request."""


class World(Protocol):
    """What a client has besides its disk."""

    def now(self) -> float:
        """Seconds."""

    def say(self, text: str) -> None:
        """A line of the console."""


@dataclass(frozen=True, slots=True)
class _Pending:
    request: Request
    register: int
    value: int
    begun: float

    @property
    def writes(self) -> bool:
        return self.value != 0


class Registers:
    """The client; ``step`` begins one operation and ends the oldest beyond depth."""

    def __init__(
        self, disk: Disk, world: World, *, first: int, count: int, depth: int, reads: int, seed: int
    ) -> None:
        self._disk: Final = disk
        self._world: Final = world
        self._first: Final = first
        self._count: Final = count
        self._depth: Final = max(1, depth)
        self._reads: Final = reads / 100
        self._dice: Final = seeded(seed)
        self._pending: deque[_Pending] = deque()
        self._value = 0

    def look(self) -> None:
        """Read every register once, so that values of this life are no values of an earlier."""
        for register in range(self._count):
            self._read(register)
        highest = 0
        while self._pending:
            highest = max(highest, self._finish())
        self._value = -(-highest // _LIFE) * _LIFE

    def step(self) -> None:
        """One operation.  Raises what the disk raises."""
        register = self._dice.randrange(self._count)
        if self._dice.random() < self._reads:
            self._read(register)
        else:
            self._write(register)
        while len(self._pending) > self._depth:
            self._finish()

    def drain(self) -> None:
        """End everything that is on its way."""
        while self._pending:
            self._finish()

    def _read(self, register: int) -> None:
        begun = self._world.now()
        request = self._disk.submit(READ, self._first + register, 1)
        self._pending.append(_Pending(request, register, 0, begun))

    def _write(self, register: int) -> None:
        while any(one.writes and one.register == register for one in self._pending):
            self._finish()
        self._value += 1
        value, begun = self._value, self._world.now()
        self._world.say(str(Event(register, True, value, begun, 0.0, "begun")))
        data = sector(register, value)
        request = self._disk.submit(WRITE, self._first + register, data=data)
        self._pending.append(_Pending(request, register, value, begun))

    def _finish(self) -> int:
        """Wait for the oldest, and tell; the value that was read."""
        one = self._pending.popleft()
        outcome, value = self._outcome(one)
        ended = self._world.now()
        told = Event(one.register, one.writes, value, one.begun, ended, outcome)
        self._world.say(str(told))
        return 0 if one.writes else value

    def _outcome(self, one: _Pending) -> tuple[str, int]:
        try:
            data = one.request.wait(PATIENCE)
            if one.writes:
                self._disk.submit(FLUSH).wait(PATIENCE)
                return "ok", one.value
        except BlockError:
            return "failed", one.value
        value, outcome = value_in(one.register, data)
        return outcome, value


class _OfDomain:
    def __init__(self, dom: Domain) -> None:
        self.now: Final = dom.vcpu.now
        self.say: Final = dom.log


def main(dom: Domain) -> None:
    """Look, be ready, read and write until the shutdown request."""
    found = words(dom)
    rate = option(found, "rate", 200.0)
    disk = BlockFront.open(dom, option(found, "disk", "xvda"))
    first = option(found, "first", 0)
    client = Registers(
        disk,
        _OfDomain(dom),
        first=first,
        count=max(1, min(option(found, "registers", 4), disk.sectors - first)),
        depth=option(found, "depth", 4),
        reads=option(found, "reads", 60),
        seed=option(found, "seed", 1),
    )
    client.look()
    dom.ready("registers")
    while dom.shutdown_requested is None:
        due = dom.vcpu.now() + (1.0 / rate if rate > 0 else 0.0)
        client.step()
        rest = due - dom.vcpu.now()
        if rest > 0:
            dom.sleep(rest)
    client.drain()
    dom.log("registers: done")
