"""What the core asks of the world outside, and nothing more.

The server hands in objects backed by memfds, doorbells and processes; tests hand in bytearrays.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from hvsim.hypervisor.work import Job
from hvsim.wire.spawn import Spawn

Address = tuple[int, int]
"""Who gets a late answer: a process's token, and the tag of its call (0: it had none)."""


class Memory(Protocol):
    """Shared memory of whole pages, zeroed at birth, whose size is sealed."""

    def lend(self) -> int:
        """A descriptor for a domain: an open file of its own, which the caller closes when it is
        sent. Raises OSError."""

    def read(self, offset: int, length: int) -> bytes:
        """Copy bytes out. Raises OSError."""

    def write(self, offset: int, data: bytes) -> None:
        """Copy bytes in. Raises OSError when it is sealed against that and not mapped here."""

    def view(self) -> memoryview:
        """The bytes, mapped here, writable, for as long as the memory lives. Raises OSError."""

    def seal(self, readonly: bool) -> bool:
        """Fix for good how peers may map it. With *readonly* no one can map or write it anew
        through the descriptor; who has it mapped keeps that. False when the owner has put seals
        on it that contradict."""

    def held(self) -> bool:
        """Whether anybody has it open, mapped or on its way to him, the hypervisor aside."""

    def shrink(self, nr_pages: int) -> bool:
        """Free at most so many of its pages; True when ``close`` has no more to free than what is
        sealed read-only. For memory that nobody holds."""

    def close(self) -> None:
        """Let go of it."""


class Doorbell(Protocol):
    """What wakes a domain, and what a domain wakes the hypervisor with: ringing it never waits, and
    rings that nobody has heard yet merge (``hvsim.wire.doorbell``)."""

    @property
    def fd(self) -> int:
        """The hypervisor's own descriptor."""

    def lend(self) -> int:
        """A descriptor for a domain, which the caller closes when it is sent. Raises OSError."""

    def ring(self) -> None:
        """Be heard by whoever listens, whatever others that hold the bell have done to it."""

    def close(self) -> None:
        """Let go of the descriptor."""


class File(Protocol):
    """An open file of the machine that a domain may be given."""

    def lend(self) -> int:
        """A descriptor for a domain, which the caller closes when it is sent. Raises OSError."""

    def close(self) -> None:
        """Let go of it."""


Held = Memory | Doorbell | File
"""What a domain may be given the descriptor of."""


class Host(Protocol):
    """The machine under the hypervisor."""

    def now(self) -> int:
        """Nanoseconds of a clock that never goes back."""

    def wall_clock(self) -> int:
        """Nanoseconds of Unix time at which :meth:`now` read 0."""

    def random(self) -> float:
        """A number in [0, 1) from the lab's seeded dice."""

    def seed(self, name: str) -> int:
        """64 bits for the dice of whoever has that name: the same in each lab with this seed."""

    def call_later(self, delay: int, call: Callable[[], None]) -> None:
        """Call back after *delay* nanoseconds."""

    def make_memory(self, name: str, nr_pages: int) -> Memory:
        """New shared memory. Raises OSError."""

    def make_doorbell(self) -> Doorbell:
        """A new bell. Raises OSError."""

    def open_file(self, path: str, writable: bool) -> File:
        """A regular file or a block device. Raises OSError, EINVAL for anything else."""

    @property
    def stands(self) -> bool:
        """Whether time stands still while anybody runs: no page may let it go on by itself."""

    def make_waits(self, token: int) -> File | None:
        """The epoll set in which a process is to wait; None where it makes its own."""

    def listen(self, bell: Doorbell, rung: Callable[[], None]) -> None:
        """Call *rung* soon after *bell* was rung, until :meth:`unlisten`; perhaps once for several
        rings, and once for those before. Nothing is taken off a bell by hearing it."""

    def unlisten(self, bell: Doorbell) -> None:
        """End :meth:`listen`."""

    def spawn(self, token: int, spec: Spawn, join: int | None, upcall: Doorbell) -> None:
        """Make a process. ``Machine.process_spawned`` or ``process_failed`` follows, and in the
        end ``process_gone``, only when the process is really gone."""

    def forget(self, domid: int) -> None:
        """A domain is no more, nor any process of it."""

    def signal(self, token: int, number: int) -> None:
        """Send a signal to a process, SIGSTOP and SIGCONT to all that it has started as well; one
        that is gone is no error."""

    def cpu_time(self, token: int) -> int | None:
        """Nanoseconds of CPU time that a process has used; None when it cannot be told."""

    def queued_time(self, token: int) -> int | None:
        """Nanoseconds that a process has waited for a CPU; None when it cannot be told."""

    def processor(self, token: int, count: int) -> int:
        """Which of the lab's *count* CPUs a process was last on; 0 when it cannot be told."""

    def place(self, token: int, cpus: list[int], count: int) -> Job:
        """Let a process, and what it has started, run on *cpus* of the lab's *count* only. A job
        (``work``)."""

    def running(self, token: int) -> bool:
        """Whether a process is on a CPU or waits for one."""

    def stopped(self, token: int) -> bool:
        """Whether a process that got SIGSTOP runs no instruction any more, nor anything that it has
        started; or is gone."""

    def reply(
        self,
        address: Address,
        message: list[object] | bytes,
        objects: Sequence[Held] = (),
    ) -> None:
        """Answer a call that was left open, with descriptors of *objects* to one without a tag;
        bytes are packed already. A caller that is gone is no error."""

    def complain(self, error: Exception) -> None:
        """Write down an exception that is a bug of ours."""

    def halt(self, status: int, text: str) -> None:
        """End the machine: every process is killed, then the hypervisor exits."""

    def pids(self) -> dict[str, int]:
        """The hypervisor's own processes: name -> pid."""
