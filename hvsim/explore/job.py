"""One run of a scenario, as plain data: what a worker is given, and what it answers."""

from __future__ import annotations

import atexit
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hvsim.faults.scenario.rows import RunRow
    from hvsim.lab.launch import Start
    from hvsim.lab.nursery import Nursery

NOT_UP: Final = "the lab comes up"
"""The check that a run has failed which could not be made."""
PATIENCE: Final = 20.0
"""Seconds of the machine's time that a turn may take: a run in which somebody spins for ever is
over then."""

LIMIT: Final = 120.0
"""Seconds of the machine's time that a run may take.  An order that is not fair (pct) may keep from
going on whom all others wait for, and then nothing ends it."""

PRELOAD: Final = ("hvsim.faults.inject", "domains.guests.register")
"""What most labs of a search are made of, besides what every lab is."""

_mine: Final = threading.local()

Choices = tuple[tuple[int, int], ...]
"""A tape: (number, choice), in order of the numbers."""


@dataclass(frozen=True)
class Job:
    """A run that is to be made.

    Attributes:
        file: the scenario, as it is called where the run is made too.
        digest: of the file's text, so that nobody runs another.
        order: "random", "pct" or "tape".
        tape: with "tape".
        without: numbers of acts, from 0, that are left out.
    """

    file: str
    digest: str
    seed: int
    order: str
    tape: Choices = ()
    without: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        failed: the checks that count and did not hold, each with what it said first.
        made: choices there were.
        tape: those that were not the first option.
        seen: transitions that the run went through (`coverage`).
        late: it took too long, and was ended; nothing is known of it.
    """

    failed: tuple[tuple[str, str], ...] = ()
    made: int = 0
    tape: Choices = ()
    seen: frozenset[int] = field(default_factory=frozenset)
    late: bool = False

    def fails(self, check: str) -> bool:
        """Whether that check has not held."""
        return any(name == check for name, _ in self.failed)


def digest(text: str) -> str:
    """Of the text of a scenario file."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def play(job: Job, limit: float = LIMIT, start: Start | None = None) -> Outcome:
    """Make the run, here and now.  What keeps it from being made is an outcome too.

    Args:
        start: starts the lab's hypervisor; None: as a worker does, whose thread keeps to a
            processor from then on, and has a nursery.
    """
    name = f"explore-{threading.get_native_id()}"
    late = threading.Event()
    timer = threading.Timer(limit, _end, (name, late))
    timer.daemon = True
    timer.start()
    try:
        outcome = _played(job, name, start or _living().start)
    except BaseException:
        _sweep(name)
        raise
    finally:
        timer.cancel()
    return Outcome(late=True) if late.is_set() else outcome


def _end(lab: str, late: threading.Event) -> None:
    """The machine of the lab falls, and whoever runs it takes it down."""
    from hvsim.lab.rundir import RunDir, base_dir

    late.set()
    hypervisor = RunDir(base_dir() / lab).read().hypervisor
    handle = None if hypervisor is None else hypervisor.open()
    if handle is not None:
        with handle:
            handle.signal(signal.SIGKILL)


def _sweep(lab: str) -> None:
    """Whoever ran it takes it down, whatever comes; but for the steps in which it is nobody's: when
    it has just been claimed, and when it has just come up."""
    from hvsim.lab.rundir import RunDir, base_dir
    from hvsim.lab.teardown import take_down

    run = RunDir(base_dir() / lab)
    if run.path.exists():
        take_down(run, now=True)


def _living() -> Nursery:
    """The nursery of this thread, which keeps to a processor; another one when it has died.  Each
    has its own: a worker of Dask has as many threads as it makes runs at once."""
    from hvsim.explore import processor
    from hvsim.lab.nursery import Nursery

    nursery: Nursery | None = getattr(_mine, "nursery", None)
    if nursery is not None and nursery.ended:
        atexit.unregister(nursery.close)
        nursery.close()
        nursery = None
    if nursery is None:
        processor.keep()
        nursery = _mine.nursery = Nursery(PRELOAD)
        atexit.register(nursery.close)
    return nursery


def _played(job: Job, name: str, start: Start) -> Outcome:
    from dataclasses import replace
    from pathlib import Path

    from hvsim.errors import HvsimError
    from hvsim.explore.coverage import transitions
    from hvsim.faults.scenario.load import load
    from hvsim.faults.scenario.run import run
    from hvsim.wire.boot import Lockstep

    try:
        if digest(Path(job.file).read_text(encoding="utf-8")) != job.digest:
            raise HvsimError(f"{job.file}: this worker has another file of that name")
        scenario = load(job.file)
        scenario = replace(
            scenario, lab=replace(scenario.lab, name=name), without=scenario.without | job.without
        )
        way = Lockstep(way=job.order, tape=dict(job.tape), patience=PATIENCE)  # type: ignore[arg-type]
        row, witness = run(scenario, job.seed, "", lambda _: None, way, start=start)
    except (HvsimError, OSError) as wrong:
        return Outcome(((NOT_UP, str(wrong).partition("\n")[0]),))
    return Outcome(
        _failed(row),
        witness.made,
        tuple(sorted(witness.tape.items())),
        transitions(witness.ledger),
    )


def _failed(row: RunRow) -> tuple[tuple[str, str], ...]:
    return tuple(
        (check["name"], check["problems"][0] if check["problems"] else "")
        for check in row["checks"]
        if check["counts"] and not check["held"]
    )
