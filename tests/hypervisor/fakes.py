"""The world under the core without a kernel: bytearrays, counters and a clock that is set."""

from collections.abc import Callable, Sequence
from typing import Any

from hvsim.abi.memory import PAGE_SIZE
from hvsim.hypervisor.host import Address, Doorbell, Held
from hvsim.hypervisor.work import Job
from hvsim.wire.packing import unpack
from hvsim.wire.spawn import Spawn


class FakeMemory:
    def __init__(self, nr_pages: int) -> None:
        self.data = bytearray(nr_pages * PAGE_SIZE)
        self.sealed: bool | None = None
        self.closed = False
        self.holders = 0
        self.shrinks = 0

    def lend(self) -> int:
        raise NotImplementedError

    def held(self) -> bool:
        assert not self.closed, "looked at after its end"
        return self.holders > 0

    def shrink(self, nr_pages: int) -> bool:
        assert not self.closed, "freed after its end"
        assert not self.holders, "somebody holds it"
        self.shrinks += 1
        return self.shrinks * nr_pages * PAGE_SIZE >= len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def view(self) -> memoryview:
        return memoryview(self.data)

    def seal(self, readonly: bool) -> bool:
        self.sealed = readonly
        return True

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


class FakeBell:
    fd = -1

    def lend(self) -> int:
        raise NotImplementedError

    def __init__(self) -> None:
        self.rings = 0
        self.heard = 0
        self.closed = False

    def ring(self) -> None:
        assert not self.closed, "rung after its end"
        self.rings += 1

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


class FakeHost:
    """A host where time stands still and processes live until they are told otherwise."""

    def __init__(self) -> None:
        self.time = 1_000_000_000
        self.rolls: list[float] = []
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.memories: list[FakeMemory] = []
        self.bells: list[FakeBell] = []
        self.heard: dict[int, tuple[Doorbell, Callable[[], None]]] = {}
        self.spawned: list[int] = []
        self.signals: list[tuple[int, int]] = []
        self.replies: list[tuple[Address, list[Any]]] = []
        self.placed: list[tuple[int, list[int], int]] = []
        self.halted: tuple[int, str] | None = None
        self.moving: set[int] = set()

    def now(self) -> int:
        return self.time

    def wall_clock(self) -> int:
        return 1_700_000_000_000_000_000

    def seed(self, name: str) -> int:
        return len(name)

    def random(self) -> float:
        return self.rolls.pop(0)

    def call_later(self, delay: int, call: Callable[[], None]) -> None:
        self.timers.append((self.time + delay, call))

    def advance(self, by: int) -> None:
        self.time += by
        due = [timer for timer in self.timers if timer[0] <= self.time]
        self.timers = [timer for timer in self.timers if timer[0] > self.time]
        for _, call in due:
            call()

    def make_memory(self, name: str, nr_pages: int) -> FakeMemory:
        self.memories.append(FakeMemory(nr_pages))
        return self.memories[-1]

    stands = False

    def make_waits(self, token: int) -> None:
        """Each makes its own."""

    def make_doorbell(self) -> FakeBell:
        self.bells.append(FakeBell())
        return self.bells[-1]

    def open_file(self, path: str, writable: bool) -> FakeBell:
        raise FileNotFoundError(2, "No such file or directory", path)

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        self.heard[id(bell)] = bell, rung

    def unlisten(self, bell: Doorbell) -> None:
        del self.heard[id(bell)]

    def carry(self) -> None:
        """What epoll does: call whoever listens to a bell that was rung."""
        for bell, rung in list(self.heard.values()):
            if isinstance(bell, FakeBell) and bell.rings > bell.heard:
                bell.heard = bell.rings
                rung()

    def spawn(self, token: int, spec: Spawn, join: int | None, upcall: Doorbell) -> None:
        self.spawned.append(token)

    def forget(self, domid: int) -> None:
        pass

    def signal(self, token: int, number: int) -> None:
        self.signals.append((token, number))

    def cpu_time(self, token: int) -> int | None:
        return 5

    def queued_time(self, token: int) -> int | None:
        return 3

    def processor(self, token: int, count: int) -> int:
        return 1 % count

    def place(self, token: int, cpus: list[int], count: int) -> Job:
        self.placed.append((token, cpus, count))
        yield from ()

    def running(self, token: int) -> bool:
        return False

    def stopped(self, token: int) -> bool:
        return token not in self.moving

    def complain(self, error: Exception) -> None:
        raise error

    def reply(
        self,
        address: Address,
        message: list[Any] | bytes,
        objects: Sequence[Held] = (),
    ) -> None:
        told = unpack(message) if isinstance(message, bytes) else message
        self.replies.append((address, told))

    def halt(self, status: int, text: str) -> None:
        self.halted = status, text

    def pids(self) -> dict[str, int]:
        return {}
