"""Runs until one fails, the least that still does, and the file that replays it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hvsim.errors import HvsimError
from hvsim.explore.found import text_of
from hvsim.explore.job import NOT_UP, Choices, Job, Outcome, digest, play
from hvsim.explore.search import Search
from hvsim.explore.shrink import cut, thinned
from hvsim.lab.rundir import NAME_MAX

if TYPE_CHECKING:
    from hvsim.explore.rows import ExploreRow, FoundRow
    from hvsim.faults.scenario.model import Scenario

SHRINK_RUNS: Final = 400
"""Runs that are made at most to shrink a failure."""
_MOVABLE: Final = 8
"""Choices of a tape that may be moved as a whole, when an act is left out."""
_SHIFTS: Final = tuple(sorted((*range(-12, 0), *range(1, 13)), key=abs))
_TELL: Final = 10.0
"""Seconds between two lines of progress."""

QUIET: Final = 30.0
"""Seconds without the end of a run, after which somebody looks whether there will be one."""

Say = Callable[[str], None]
Look = Callable[[], None]


def _trusting() -> None:
    """An executor tells by itself when who makes the runs has gone."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        first: the first seed.
        order: "random", "pct" or "both".
        jobs: runs at once.
        out: where the file goes that replays; None: beside the scenario.
    """

    scenario: Scenario
    runs: int
    first: int
    order: str
    jobs: int
    out: str | None = None
    shrink_runs: int = SHRINK_RUNS


def explore(wanted: Wanted, executor: Executor, say: Say, look: Look = _trusting) -> ExploreRow:
    """All of it.

    Args:
        look: called when no run has come to its end for long; raises HvsimError when none will.

    Raises: HvsimError when the file cannot be written or no lab comes up.
    """
    text = wanted.scenario.file.read_text(encoding="utf-8")
    base = Job(str(wanted.scenario.file), digest(text), wanted.first, "random")
    search = Search(base, wanted.order)
    begun = time.monotonic()
    runs, late, failure = _searched(wanted, search, executor, say, look)
    seconds = max(time.monotonic() - begun, 0.001)
    found = None
    if failure is not None:
        found = _Shrinker(wanted, executor, say, look).whole(*failure, runs, text)
    return {
        "scenario": wanted.scenario.name,
        "runs": runs,
        "seconds": round(seconds, 3),
        "runs_a_minute": round(runs / seconds * 60, 1),
        "late": late,
        "coverage": len(search.seen),
        "found": found,
    }


def _searched(
    wanted: Wanted, search: Search, executor: Executor, say: Say, look: Look
) -> tuple[int, int, tuple[Job, Outcome] | None]:
    """Runs that were made, those of them that were late, and the first that failed."""
    begun = told = time.monotonic()
    todo: dict[Future[Outcome], Job] = {}
    given = runs = late = 0
    failure: tuple[Job, Outcome] | None = None
    while todo or (given < wanted.runs and failure is None):
        while len(todo) < wanted.jobs and given < wanted.runs and failure is None:
            job = search.next()
            todo[executor.submit(play, job)] = job
            given += 1
        not_up = ""
        for future in _ended(todo, look):
            job, outcome = todo.pop(future), future.result()
            if outcome.fails(NOT_UP):
                not_up = outcome.failed[0][1]
                continue
            runs += 1
            late += outcome.late
            search.told(job, outcome)
            if outcome.failed and failure is None:
                failure = job, outcome
        if not_up and failure is None:  # else what was found is more than what was not begun
            raise HvsimError(f"explore: {not_up}")
        if time.monotonic() - told >= _TELL or not todo:
            told = time.monotonic()
            rate = runs / max(told - begun, 0.001) * 60
            so_far = progress(runs, rate, len(search.seen), late)
            say(f"{so_far}; {'a failure' if failure else 'no failure yet'}")
    return runs, late, failure


def _ended(runs: Iterable[Future[Outcome]], look: Look) -> set[Future[Outcome]]:
    """Those of *runs* that have come to their end, of which there is one at least."""
    while True:
        done, _ = wait(runs, QUIET, FIRST_COMPLETED)
        if done:
            return done
        look()


def progress(runs: int, rate: float, coverage: int, late: int) -> str:
    """How far a search is, for people."""
    return (
        f"{runs} run{'s' * (runs != 1)}, {rate:.0f} a minute, "
        f"{coverage} pairs of events seen in a row"
        + (f", {late} runs ended as they took too long" if late else "")
    )


class _Shrinker:
    """Of one failure."""

    def __init__(self, wanted: Wanted, executor: Executor, say: Say, look: Look) -> None:
        self._wanted: Final = wanted
        self._executor: Final = executor
        self._say: Final = say
        self._look: Final = look
        self._runs = 0
        self._hindered = ""  # why a run that was wanted says nothing

    def whole(self, job: Job, outcome: Outcome, after: int, text: str) -> FoundRow:
        """Shrink it, write the file.  Raises: HvsimError."""
        check, said = outcome.failed[0]
        scenario = self._wanted.scenario
        acts = [one for one in range(_acts(scenario)) if one not in scenario.without]
        self._say(f"found in run {after}, seed {job.seed}, {job.order}: {check}: {said}")
        self._say(
            f"{outcome.made} choices of who is next, {len(outcome.tape)} of them not of who had "
            "waited longest"
        )
        least = replace(job, order="tape", tape=outcome.tape)
        file = self._write(job, check, said, text)  # also for who does not wait for the rest
        self._say(f"what was found is in {file}; shrinking")
        if self._fails(check, [least]) is None:
            why = self._hindered or "the run is not the same twice"
            self._say(f"its tape does not fail again: {why}")
            least = job
        else:
            least = self._tape(check, least)
            self._write(least, check, said, text)
            least = self._tape(check, self._acts(check, least, acts))
            self._write(least, check, said, text)
        return {
            "check": check,
            "said": said,
            "seed": job.seed,
            "order": job.order,
            "after": after,
            "choices": outcome.made,
            "tape_before": len(outcome.tape),
            "tape_after": len(least.tape) if least.order == "tape" else len(outcome.tape),
            "acts_before": len(acts),
            "acts_after": len(acts) - len(least.without),
            "shrink_runs": self._runs,
            "file": file,
        }

    def _tape(self, check: str, job: Job) -> Job:
        """With the fewest choices."""

        def fails(tapes: list[tuple[tuple[int, int], ...]]) -> int | None:
            return self._fails(check, [replace(job, tape=tape) for tape in tapes])

        if fails([()]) is not None:
            return replace(job, tape=())
        tape = thinned(cut(job.tape, fails), fails)
        self._say(f"{self._runs} runs to shrink it: {len(tape)} choices are left")
        return replace(job, tape=tape)

    def _acts(self, check: str, job: Job, acts: list[int]) -> Job:
        """With the fewest faults and steps."""

        def without(kept: tuple[int, ...]) -> Job:
            return replace(job, without=frozenset(acts) - frozenset(kept))

        def fails(parts: list[tuple[int, ...]]) -> int | None:
            return self._fails(check, [without(kept) for kept in parts])

        least = without(thinned(acts, fails))
        for act in acts:
            if act not in least.without:
                least = self._moved(check, least, act)
        return least

    def _moved(self, check: str, job: Job, act: int) -> Job:
        """Without *act* as well, if its choices need only be others by number then: what the act
        itself had done was some choices too."""
        if not 0 < len(job.tape) <= _MOVABLE:
            return job
        bare = replace(job, without=job.without | {act})
        moved = [replace(bare, tape=shifted(job.tape, by)) for by in _SHIFTS]
        place = self._fails(check, moved)
        return job if place is None else moved[place]

    def _fails(self, check: str, candidates: list[Job]) -> int | None:
        """The first that fails so, as many at once as there are workers."""
        for begin in range(0, len(candidates), self._wanted.jobs):
            batch = candidates[begin : begin + self._wanted.jobs]
            if self._runs + len(batch) > self._wanted.shrink_runs:
                self._hindered = "no run is left to shrink with"
                return None
            self._runs += len(batch)
            futures = [self._executor.submit(play, job) for job in batch]
            for future in futures:
                _ended([future], self._look)
            outcomes = [future.result() for future in futures]
            for one in outcomes:
                if one.late:
                    self._hindered = "a run took too long"
                elif one.fails(NOT_UP):
                    self._hindered = one.failed[0][1]
            found = [one.fails(check) for one in outcomes]
            if any(found):
                return begin + found.index(True)
        return None

    def _write(self, job: Job, check: str, said: str, text: str) -> str:
        scenario = self._wanted.scenario
        out = Path(self._wanted.out) if self._wanted.out else replays_in(scenario, job.seed)
        try:
            whole = text_of(text, scenario, job, check, said, str(out))
            out.write_text(whole, encoding="utf-8")
        except OSError as failure:
            raise HvsimError(f"{out}: {failure.strerror}") from None
        return str(out)


def replays_in(scenario: Scenario, seed: int) -> Path:
    """The file of a failure of that seed, where nobody has named one: beside the scenario.  The lab
    may be called by it, so it is no longer than the name of one."""
    end = f"-found-{seed}"
    return scenario.file.with_name(f"{scenario.file.stem[: NAME_MAX - len(end)]}{end}.toml")


def shifted(tape: Choices, by: int) -> Choices:
    """The same choices, each so many later."""
    return tuple((number + by, choice) for number, choice in tape if number + by >= 0)


def _acts(scenario: Scenario) -> int:
    return sum(len(phase.acts) for phase in scenario.phases)
