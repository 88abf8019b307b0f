"""Who breaks the lab: carries out a plan, and takes away what it has put in force."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.errors import HvsimError
from hvsim.faults.now import NoProcess, inject
from hvsim.faults.rules import NoRule, enter, remove, standing, visit
from hvsim.faults.targets import TargetError
from hvsim.observe.diagnosis.looking import look
from hvsim.observe.diagnosis.told import told
from hvsim.observe.diagnosis.words import lines

if TYPE_CHECKING:
    from hvsim.faults.scenario.model import Act
    from hvsim.faults.scenario.rows import RunActRow
    from hvsim.lab.rundir import RunDir


@dataclass
class _InForce:
    number: int
    row: RunActRow


class Nemesis:
    """Of one lab.  `rows` tells what it has done."""

    def __init__(self, run: RunDir) -> None:
        self._run: Final = run
        self._in_force: list[_InForce] = []
        self.rows: list[RunActRow] = []

    def do(self, act: Act, phase: str, moment: float, *, wait: bool) -> RunActRow | None:
        """Do it; what cannot be done is told in the row.

        With *wait*, None for what is about somebody who is not there, and may come back."""
        row: RunActRow = {
            "phase": phase,
            "what": act.what,
            "text": act.text,
            "begun": moment,
            "ended": None,
            "rule": None,
            "fired": None,
            "said": [],
            "trouble": "",
        }
        try:
            if act.rule is not None:
                number = enter(self._run, [act.rule])[0]
                self._in_force.append(_InForce(number, row))
                row["rule"] = number
            elif act.what == "look":
                row["said"] = [one for one in lines(told(look(self._run)), False) if one]
            else:
                done = inject(self._run, act.what, act.who, act.process)
                row["said"] = [f"domain {done['domid']}, pid {done['pid']}"]
        except NoProcess as dead:
            if act.what == "kill":  # something else has killed it in this moment
                row["said"] = ["it was dead by then"]
            else:
                row["trouble"] = str(dead)
        except TargetError as nobody:
            if wait:
                return None
            row["trouble"] = str(nobody)
        except HvsimError as wrong:
            row["trouble"] = str(wrong)
        self.rows.append(row)
        return row

    def lift(self, moment: float) -> None:
        """Take away the rules that are in force, and note what came of them."""
        if not self._in_force:
            return
        with visit(self._run) as door:
            found = {one.rule.number: one for one in standing(door)}
            mine, self._in_force = self._in_force, []  # not before it could be asked
            for one in mine:
                one.row["ended"] = moment
                now = found.get(one.number)
                if now is None:  # its time was over
                    continue
                one.row["fired"] = now.rule.fired
                one.row["trouble"] = now.trouble
                one.row["said"] = [now.last] if now.last else []
                with contextlib.suppress(NoRule):  # its time was over in this moment
                    remove(door, one.number)
