"""A scenario runs: the lab comes up, the phases go by, everything is judged, the lab goes."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hvsim.errors import HvsimError
from hvsim.faults.checkers.progress import progress
from hvsim.faults.checkers.quiet import quiet
from hvsim.faults.checkers.verdict import Verdict
from hvsim.faults.of_lab import entering
from hvsim.faults.scenario.clock import Clock, OfTheLab, OfTheMachine
from hvsim.faults.scenario.history import Follower, History
from hvsim.faults.scenario.judge import Judge, check_row
from hvsim.faults.scenario.nemesis import Nemesis
from hvsim.faults.scenario.onlooker import Onlooker
from hvsim.faults.scenario.plan import Planned, plan
from hvsim.faults.scenario.witness import Witness
from hvsim.lab import leftovers
from hvsim.lab.check.lockstep import refuse
from hvsim.lab.door import DoorError
from hvsim.lab.launch import Start, as_program
from hvsim.lab.up import Running, bring_up, create_domain
from hvsim.observe.evidence import gather
from hvsim.xs.waits import MACHINE

if TYPE_CHECKING:
    from hvsim.faults.scenario.model import Phase, Scenario
    from hvsim.faults.scenario.rows import RunCheckRow, RunClientRow, RunPhaseRow, RunRow
    from hvsim.wire.boot import Lockstep

TICK: Final = 0.01
"""Seconds between two looks at the consoles."""
LOOK: Final = 0.2
"""Seconds between two looks at the hypervisor."""
SETTLE: Final = 0.5
"""Seconds after the last act of a phase in which its clients may still be told something."""
AWAITED: Final = 3.0
"""Seconds for which a rule waits for whom it is about: a driver domain dies and comes back."""
_PULSE: Final = 100

Say = Callable[[str], None]


def run(
    scenario: Scenario,
    seed: int,
    replay: str,
    say: Say,
    lockstep: Lockstep | None = None,
    onlooker: Onlooker | None = None,
    start: Start = as_program,
) -> tuple[RunRow, Witness]:
    """Run it; what came of it, and who has the ledger.  The lab is gone afterwards.

    Args:
        lockstep: how the lab's processes take turns; None: all at once.
        onlooker: who is told of it while it goes on.
        start: starts the lab's hypervisor.

    Raises: HvsimError when the lab does not come up.
    """
    _needs(scenario)
    if lockstep is not None:
        refuse(scenario.lab)
    scenario = replace(scenario, lab=replace(scenario.lab, seed=seed))
    later = {one.domain for one in scenario.loads if one.phase}
    first = tuple(one for one in scenario.lab.domains if one.name not in later)
    lab = replace(scenario.lab, domains=first)
    running = bring_up(
        lab,
        say=say,
        gather=gather,
        before_run=entering(lab),
        lockstep=lockstep,
        start=start,
    )
    onlooker = onlooker or Onlooker()
    with leftovers.witnessed(running, lambda: onlooker.down(running)) as seen:
        waits = running.run.waits()
        clock = OfTheMachine() if waits is None else OfTheLab(waits)
        with contextlib.closing(waits or MACHINE), contextlib.ExitStack() as stack:
            this = _Run(scenario, seed, running, say, clock, onlooker, stack)
            onlooker.ready(running, seen, this.histories)
            row, witness = this.whole(replay)
    found = tuple(onlooker.gone(seen))
    row["checks"].append(
        check_row("nothing is left", Verdict(f"{len(seen.seen)} processes", found), True)
    )
    row["ok"] = row["ok"] and not found
    return row, witness


def _needs(scenario: Scenario) -> None:
    """Raises: HvsimError when a client's library is not here."""
    commits = any(one.history == "commits" for one in scenario.loads)
    if commits and importlib.util.find_spec("apsw") is None:
        raise HvsimError(
            f"{scenario.name}: its database is SQLite by apsw, which is not installed: "
            "`pip install 'hvsim[demo]'` (or `pip install apsw`)"
        )


class _Run:
    """One run; what it has open is let go with *stack*."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        running: Running,
        say: Say,
        clock: Clock,
        onlooker: Onlooker,
        stack: contextlib.ExitStack,
    ) -> None:
        self._onlooker: Final = onlooker
        self._scenario: Final = scenario
        self._seed: Final = seed
        self._running: Final = running
        self._say: Final = say
        self._clock: Final = clock
        self._zero: Final = clock.now()
        self._nemesis: Final = Nemesis(running.run)
        self._witness: Final = Witness(running.run)
        self._clients: Final = [
            stack.enter_context(
                Follower(running.run.console_log(one.domain), History(one.domain, one.history))
            )
            for one in scenario.loads
        ]
        self._phases: list[RunPhaseRow] = []
        self._liveness: list[RunCheckRow] = []
        self._looked = -LOOK
        self._trouble = ""

    @property
    def histories(self) -> dict[str, History]:
        """Of the clients, by domain."""
        return {one.history.domain: one.history for one in self._clients}

    def _now(self) -> float:
        return self._clock.now() - self._zero

    def whole(self, replay: str) -> tuple[RunRow, Witness]:
        """All of it."""
        planned = plan(self._scenario.phases, self._seed, self._scenario.without)
        judge = Judge(self._scenario, self._running, self._witness)
        try:
            judge.before()
            for number, phase in enumerate(self._scenario.phases):
                self._phase(phase, [one for one in planned if one.phase == number])
        except HvsimError as wrong:
            self._trouble = str(wrong)
            with suppress(HvsimError):  # what its phase has not come to
                self._nemesis.lift(self._now())
        self._onlooker.over()
        self._say(f"{self._now():8.3f}  judged")
        safety = judge.after(self._clients, self._clock, self._nemesis.rows, self._trouble)
        self._onlooker.judged(judge)
        checks = [*safety, *self._liveness]
        with suppress(DoorError):  # it has fallen, which the checks have seen
            self._witness.read_tape()
        scenario = self._scenario
        row: RunRow = {
            "ok": all(one["held"] for one in checks if one["counts"]),
            "scenario": scenario.name,
            "title": scenario.title,
            "text": scenario.text,
            "seed": self._seed,
            "replay": replay,
            "up_seconds": round(self._running.seconds, 3),
            "seconds": round(self._now(), 3),
            "phases": self._phases,
            "acts": self._nemesis.rows,
            "clients": [self._client(one.history) for one in self._clients],
            "checks": checks,
        }
        return row, self._witness

    def _phase(self, phase: Phase, acts: list[Planned]) -> None:
        begun = self._now()
        self._say(f"{begun:8.3f}  {phase.name}" + (f": {phase.text}" if phase.text else ""))
        row: RunPhaseRow = {"name": phase.name, "text": phase.text, "begun": begun, "ended": begun}
        self._phases.append(row)
        self._onlooker.phase(phase)
        self._make(phase)
        todo, before = list(acts), len(self._nemesis.rows)
        while True:
            now = self._now()
            self._look(now)
            for one in [one for one in todo if now - begun >= one.at]:
                if self._act(one, phase, begun):
                    todo.remove(one)
            if self._onlooker.settled() and not todo and self._over(phase, begun, now):
                break
            self._onlooker.rest(self._clock, TICK)
        ended = row["ended"] = self._now()
        done = [one["begun"] for one in self._nemesis.rows[before:] if one["what"] != "look"]
        since = max(done, default=begun) + SETTLE
        for goal in phase.goals:
            verdict = progress(self._told(goal.domain), begun, ended, goal.within, goal.count)
            self._judged(f"{phase.name}: {goal.domain} goes on", verdict)
        for domain in phase.quiet:
            self._judged(
                f"{phase.name}: {domain} is told nothing", quiet(self._told(domain), since, ended)
            )
        self._nemesis.lift(ended)

    def _make(self, phase: Phase) -> None:
        """The domains that are made at the begin of a phase.  Raises: HvsimError."""
        wanted = {one.domain for one in self._scenario.loads if one.phase == phase.name}
        lab = self._scenario.lab
        with self._running.control() as control:
            for domain in lab.domains:
                if domain.name in wanted:
                    domid = create_domain(control, lab, self._running.run, domain)
                    self._running.domids[domain.name] = domid
                    self._say(f"{self._now():8.3f}    {domain.name} is made, domain {domid}")

    def _over(self, phase: Phase, begun: float, now: float) -> bool:
        lasted = now - begun
        if not phase.goals:
            return lasted >= phase.seconds
        open_goals = [
            goal
            for goal in phase.goals
            if sum(moment >= begun for moment in self._told(goal.domain)) < goal.count
        ]
        return not open_goals or lasted > max(goal.within for goal in open_goals)

    def _act(self, planned: Planned, phase: Phase, begun: float) -> bool:
        """Whether it is done, or will never be."""
        self._onlooker.acting(planned.act)
        late = self._now() - begun - planned.at > AWAITED
        row = self._nemesis.do(planned.act, phase.name, self._now(), wait=not late)
        if row is None:
            return False
        rule = "" if row["rule"] is None else f"rule {row['rule']}: "
        self._say(f"{self._now():8.3f}    {rule}{row['text']}")
        for line in [*row["said"], *([f"NOT DONE: {row['trouble']}"] if row["trouble"] else [])]:
            self._say(f"            {line}")
        return True

    def _look(self, moment: float) -> None:
        for client in self._clients:
            client.read(moment)
        if moment - self._looked >= LOOK:
            self._looked = moment
            self._witness.read()

    def _told(self, domain: str) -> list[float]:
        return next(one.history.told for one in self._clients if one.history.domain == domain)

    def _judged(self, name: str, verdict: Verdict) -> None:
        self._liveness.append(check_row(name, verdict, True))

    def _client(self, history: History) -> RunClientRow:
        whole = max(self._now(), 0.001)
        pulse = [0] * _PULSE
        for moment in history.told:
            pulse[min(_PULSE - 1, int(max(0.0, moment) / whole * _PULSE))] += 1
        return {
            "domain": history.domain,
            "history": history.kind,
            "told": len(history.told),
            "pulse": pulse,
        }
