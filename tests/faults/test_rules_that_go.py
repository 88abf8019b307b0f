"""A rule of a scenario that goes by itself between the look at those that stand and its removal.

Red with a removal that says that there is no such rule: the run ended before its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hvsim.abi.errno import ENOENT
from hvsim.faults.grammar import parse
from hvsim.faults.scenario import nemesis
from hvsim.faults.scenario.model import Act
from hvsim.lab.door import DoorError
from hvsim.lab.rundir import RunDir
from hvsim.wire.fault import Rule
from hvsim.wire.typed import write


class Hypervisor:
    """Tells of rules 1 to 3, and has no rule 2 when it is to be removed."""

    def __init__(self) -> None:
        self.removed: list[int] = []

    def rules(self) -> list[dict[str, Any]]:
        told = {"since": 0, "last": "", "placed": True, "trouble": ""}
        return [{"rule": write(Rule(number=number)), **told} for number in (1, 2, 3)]

    def call(self, _call: int, _cmd: int, number: int) -> None:
        if number == 2:
            raise DoorError("the hypervisor refuses: ENOENT", ENOENT)
        self.removed.append(number)

    @contextmanager
    def visit(self, *_args: object) -> Iterator[Hypervisor]:
        yield self


LAB = cast(RunDir, SimpleNamespace(door=Path("door"), name="made-up"))


def test_a_phase_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    hypervisor = Hypervisor()
    monkeypatch.setattr(nemesis, "visit", hypervisor.visit)
    numbers = iter((1, 2, 3))
    monkeypatch.setattr(nemesis, "enter", lambda *_: [next(numbers)])
    one = nemesis.Nemesis(LAB)
    act = Act("fault", (0.0, 0.0), rule=parse("web", ["cpu=50%", "for=1s"]))
    for _ in range(3):
        one.do(act, "storm", 1.0, wait=False)
    one.lift(2.0)
    assert hypervisor.removed == [1, 3]
    assert [row["ended"] for row in one.rows] == [2.0] * 3
