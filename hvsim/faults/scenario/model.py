"""What a scenario file says.  Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hvsim.faults.grammar import Draft
    from hvsim.lab.model import Lab
    from hvsim.wire.boot import Lockstep


@dataclass(frozen=True)
class Load:
    """What a domain does, and how what its clients are told is read from its console.

    Attributes:
        history: "commits", "registers", "secrets" or "lines".
        phase: at whose begin the domain is made; "" for with the lab.
        image: the domain on whose first disk its commits are to be found.
    """

    domain: str
    history: str
    program: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    phase: str = ""
    image: str = ""


@dataclass(frozen=True)
class Act:
    """Something that is done in a phase.

    Attributes:
        at: seconds after the phase's begin: least and most.
        what: "fault", "kill", "stall", "resume" or "look".
        who: the domain or process; of a fault, its target.
        rule: of a fault.
    """

    what: str
    at: tuple[float, float]
    who: str = ""
    process: str = ""
    rule: Draft | None = None

    @property
    def text(self) -> str:
        """For people."""
        if self.rule is not None:
            return self.rule.text
        if self.what == "look":
            return "the doctor is asked"
        return f"{self.what} {self.who}" + (f" {self.process}" if self.process else "")


@dataclass(frozen=True)
class Goal:
    """Progress that a phase waits for: *count* more are told to the clients of *domain*."""

    domain: str
    count: int
    within: float


@dataclass(frozen=True)
class Phase:
    """A part of a scenario.

    Attributes:
        seconds: how long, when it has no goals.
        goals: it ends when all are reached, and has failed when one is not.
        quiet: domains whose clients must be told nothing once all acts are done.
        text: what a reader is to know.
    """

    name: str
    text: str = ""
    seconds: float = 0.0
    goals: tuple[Goal, ...] = ()
    acts: tuple[Act, ...] = ()
    quiet: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """A whole file.

    Attributes:
        unchecked: checks that do not count, as the faults break just that.
        lockstep: how turns are taken when it runs in lockstep; None: as who runs it says.
        without: numbers of acts, from 0 through all phases, that are left out; what is drawn for
            the others stays.
        expendable: guests that may die.
    """

    name: str
    title: str
    text: str
    file: Path
    lab: Lab
    seed: int
    loads: tuple[Load, ...]
    phases: tuple[Phase, ...]
    unchecked: frozenset[str] = frozenset()
    lockstep: Lockstep | None = None
    without: frozenset[int] = frozenset()
    expendable: frozenset[str] = frozenset()
