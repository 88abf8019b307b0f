"""The client of registers on a disk, on a disk that is a list of sectors, and tells what it did.

Seen red: with two writes of one register on their way at once, with a value of an earlier life
written again, with `value_in` that does not look at every byte.
"""

from __future__ import annotations

from domains.guests.register import Registers, event, sector, value_in
from hvsim.abi.blkif import BLKIF_RSP_ERROR, BLKIF_RSP_OKAY, SECTOR_SIZE
from hvsim.drivers.block.request import FLUSH, READ, WRITE, Request
from hvsim.faults.checkers.foreign import foreign
from hvsim.faults.checkers.linearizable import linearizable
from hvsim.faults.checkers.operations import operations


class Disk:
    """Answers what waits, the oldest first, when somebody waits for it."""

    def __init__(self) -> None:
        self.sectors: dict[int, bytes] = {}
        self.waiting: list[Request] = []
        self.together = 0
        self.fails = False

    def submit(
        self, op: int, sector: int = 0, nr_sectors: int = 0, *, data: bytes = b""
    ) -> Request:
        request = Request(op, sector, nr_sectors, data=data, waiter=self._wait)
        if op == WRITE:
            same = [one for one in self.waiting if one.op == WRITE and one.sector == sector]
            self.together = max(self.together, len(same) + 1)
        self.waiting.append(request)
        return request

    def _wait(self, request: Request, timeout: float | None) -> None:
        while request.status is None:
            one = self.waiting.pop(0)
            if one.op == READ:
                one.store(self.sectors.get(one.sector, bytes(SECTOR_SIZE)))
            elif one.op == WRITE and not self.fails:
                self.sectors[one.sector] = one.data
            failed = self.fails and one.op != FLUSH
            one.status = BLKIF_RSP_ERROR if failed else BLKIF_RSP_OKAY


class World:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.time = 0.0

    def now(self) -> float:
        self.time += 0.001
        return self.time

    def say(self, text: str) -> None:
        self.lines.append(text)


def client(disk: Disk, world: World) -> Registers:
    made = Registers(disk, world, first=8, count=3, depth=6, reads=50, seed=3)
    made.look()
    return made


def test_what_it_tells_is_a_history_that_holds() -> None:
    disk, world = Disk(), World()
    one = client(disk, world)
    for _ in range(300):
        one.step()
    one.drain()
    history = operations(filter(None, map(event, world.lines)))
    assert len(history) == 303
    assert linearizable(history).held
    assert foreign(history).held
    assert disk.together == 1, "no disk promises an order of two writes of one sector"
    assert disk.sectors.keys() == {8, 9, 10}


def test_a_disk_that_forgets_is_found() -> None:
    disk, world = Disk(), World()
    one = client(disk, world)
    for step in range(100):
        one.step()
        if step == 50:
            one.drain()
            early = dict(disk.sectors)
        if step == 75:
            one.drain()
            assert all(disk.sectors[at] != early[at] for at in early)
            disk.sectors = early
            one.look()
    one.drain()
    history = operations(filter(None, map(event, world.lines)))
    assert not linearizable(history).held


def test_another_life_writes_other_values() -> None:
    disk, world = Disk(), World()
    client(disk, world).step()
    for _ in range(2):
        one = client(disk, world)
        for _ in range(20):
            one.step()
        one.drain()
    values = [one.value for one in operations(filter(None, map(event, world.lines))) if one.writes]
    assert len(values) == len(set(values)) > 10


def test_a_write_that_fails_is_told_as_such() -> None:
    disk, world = Disk(), World()
    one = client(disk, world)
    disk.fails = True
    for _ in range(10):
        one.step()
    one.drain()
    assert any(line.endswith("failed") for line in world.lines)
    assert not any(line.endswith("ok") for line in world.lines[3:])


def test_a_sector_says_whose_value_it_holds() -> None:
    whole = sector(4, 99)
    assert len(whole) == SECTOR_SIZE
    assert value_in(4, whole) == (99, "ok")
    assert value_in(5, whole) == (99, "foreign")
    assert value_in(4, whole[:-1] + bytes([whole[-1] ^ 1])) == (-1, "damaged")
    assert value_in(4, bytes(SECTOR_SIZE)) == (0, "ok")
