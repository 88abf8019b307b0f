"""What the hypervisor is told at its start: the machine, and the processes of dom0."""

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import Message

LEDGER_SIZE: Final = 4096
"""Records of the ledger that are kept, unless the lab says how many."""

PATIENCE: Final = 60.0
"""Seconds that a turn in lockstep may take."""

EventMode = Literal["direct", "mediated"]
"""Whether the hypervisor stands out of the way of events, or between their two ends."""

Size = Annotated[int, Meta(ge=1)]
Pages = Annotated[int, Meta(ge=2)]


class Dom0(Message, frozen=True):
    """The first domain: its size, and its processes in the order of their start."""

    memory_pages: Pages
    max_vcpus: Size = 1
    processes: tuple[Spawn, ...] = ()


class Spawner(Message, frozen=True):
    """The command that starts the spawner ("--fd N" is added), and modules that it loads ahead."""

    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    preload: tuple[str, ...] = ()


class Lockstep(Message, frozen=True):
    """One process runs at a time, and the seed says which.

    Attributes:
        way: who is next: the one that has waited longest, anyone, by priorities (PCT), or what is
            on the tape.
        tape: choices that are not the first option, by number.
        patience: seconds of the machine's time that a turn may take, or Linux with something that
            was asked of it.
    """

    way: Literal["longest", "random", "pct", "tape"] = "random"
    tape: dict[int, int] = field(default_factory=dict)
    patience: Annotated[float, Meta(gt=0.0)] = PATIENCE


class Boot(Message, frozen=True):
    """The machine.

    Attributes:
        lab: its name.
        memory_pages, nodes, cpus: its size.
        event_mode: whether events pass through the hypervisor from the start.
        seed: of every die that is thrown.
        lockstep: how its processes take turns; None: all at once.
        ledger_size: records kept.
        log_dir: where the spawner's output goes, None for where ours goes.
        door: the socket of the owner's door, None for none.
        obituary: the file that says why the machine has ended, None for none.
        cgroups: the directories in which cgroups of domains are made; empty for none.
    """

    memory_pages: Pages
    dom0: Dom0
    spawner: Spawner
    lab: str = "lab"
    nodes: Size = 1
    cpus: Size = 1
    event_mode: EventMode = "direct"
    seed: int = 0
    lockstep: Lockstep | None = None
    ledger_size: Size = LEDGER_SIZE
    log_dir: str | None = None
    door: str | None = None
    obituary: str | None = None
    cgroups: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dom0.memory_pages > self.memory_pages:
            raise ValueError("dom0 has more memory than the machine")
        if self.nodes > self.memory_pages:
            raise ValueError("nodes: more than pages")
        if {*self.cgroups} not in (set(), {"memory", "pids"}):
            raise ValueError("cgroups: a directory each for memory and pids is wanted")
