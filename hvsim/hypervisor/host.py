"""What the core asks of the world outside, and nothing more.

The server hands in objects backed by memfds, eventfds and processes; tests hand in bytearrays.
"""

from collections.abc import Callable
from typing import Any, Protocol

Address = tuple[int, int]
"""Who gets a late answer: a process's token, and the tag of its call (0: it had none)."""


class Memory(Protocol):
    """Shared memory of whole pages, zeroed at birth, whose size is sealed."""

    @property
    def fd(self) -> int:
        """The descriptor that a domain may be given."""

    def read(self, offset: int, length: int) -> bytes:
        """Copy bytes out. Raises OSError."""

    def write(self, offset: int, data: bytes) -> None:
        """Copy bytes in. Raises OSError when the owner has sealed it against that."""

    def view(self) -> memoryview:
        """The bytes, mapped here, writable, for as long as the memory lives."""

    def seal(self, readonly: bool) -> bool:
        """Fix for good how peers may map it. With *readonly* no one can map or write it anew
        through the descriptor; who has it mapped keeps that. False when the owner has put seals
        on it that contradict."""

    def close(self) -> None:
        """Give the pages back to the machine, even if a descriptor is still held elsewhere."""


class Doorbell(Protocol):
    """An eventfd: ringing it never blocks; rings that nobody has seen yet merge."""

    @property
    def fd(self) -> int:
        """The descriptor that a domain may be given."""

    def ring(self) -> None:
        """Make it readable. A bell that stands at its maximum is rung all the same."""

    def drain(self) -> int:
        """Take all rings off; returns how many there were."""

    def close(self) -> None:
        """Let go of the descriptor."""


class File(Protocol):
    """An open file of the machine that a domain may be given."""

    @property
    def fd(self) -> int:
        """The descriptor."""

    def close(self) -> None:
        """Let go of it."""


Held = Memory | Doorbell | File
"""What a domain may be given the descriptor of."""


class Host(Protocol):
    """The machine under the hypervisor."""

    def now(self) -> int:
        """Nanoseconds of a clock that never goes back."""

    def random(self) -> float:
        """A number in [0, 1) from the lab's seeded dice."""

    def call_later(self, delay: int, call: Callable[[], None]) -> None:
        """Call back after *delay* nanoseconds."""

    def make_memory(self, name: str, nr_pages: int) -> Memory:
        """New shared memory. Raises OSError."""

    def make_doorbell(self) -> Doorbell:
        """A new bell. Raises OSError."""

    def open_file(self, path: str, writable: bool) -> File:
        """A regular file or a block device. Raises OSError, EINVAL for anything else."""

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        """Call *rung* whenever *bell* is readable, until :meth:`unlisten`."""

    def unlisten(self, bell: Doorbell) -> None:
        """End :meth:`listen`."""

    def spawn(self, token: int, spec: dict[str, Any], upcall: Doorbell) -> None:
        """Make a process. ``Machine.process_spawned`` or ``process_failed`` follows, and in the
        end ``process_gone``, only when the process is really gone."""

    def signal(self, token: int, number: int) -> None:
        """Send a signal to a process; one that is gone is no error."""

    def cpu_time(self, token: int) -> int | None:
        """Nanoseconds of CPU time that a process has used; None when it cannot be told."""

    def place(self, token: int, cpus: list[int], count: int) -> None:
        """Let a process, and what it has started, run on *cpus* of the lab's *count* only."""

    def running(self, token: int) -> bool:
        """Whether a process is on a CPU or waits for one."""

    def stopped(self, token: int) -> bool:
        """Whether a process runs no instruction any more, be it stopped or gone."""

    def reply(self, address: Address, message: list[Any]) -> None:
        """Answer a call that was left open. A caller that is gone is no error."""

    def halt(self, status: int, text: str) -> None:
        """End the machine: every process is killed, then the hypervisor exits."""

    def pids(self) -> dict[str, int]:
        """The hypervisor's own processes: name -> pid."""
