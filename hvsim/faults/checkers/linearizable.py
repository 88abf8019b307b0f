"""Is there an order in which a register could have answered as it did?

Each operation must seem to happen in one moment between its beginning and its end, and each read
must find what the last write before it wrote.  Searched as Wing and Gong did, with Lowe's memory of
what was tried (a set of operations and the value behind it lead the same way whatever their order),
each register by itself; a read that fits is placed at once, as placing it later allows no more.

A write whose end nobody was told of may have happened at any time after its beginning, or never.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hvsim.faults.checkers.operations import Operation
from hvsim.faults.checkers.verdict import Verdict

STEPS_MAX: Final = 2_000_000
"""Steps of the search for one register; beyond, the history counts as not judged."""


def linearizable(history: Sequence[Operation], steps: int = STEPS_MAX) -> Verdict:
    """Judge the registers of a disk, all of which held 0 at first.

    Moments are told as seconds after the first operation.
    """
    registers = sorted({one.register for one in history})
    judged = f"{len(history)} operations on {len(registers)} registers"
    if not history:
        return Verdict(judged, ("no operation was told of: nothing was proven",))
    zero = min(one.begun for one in history)
    problems = []
    for register in registers:
        own = [one for one in history if one.register == register]
        problem = _Search(own, zero, steps).problem()
        if problem:
            problems.append(f"register {register}: {problem}")
    return Verdict(judged, tuple(problems))


class _Search:
    """Of one register.  Entries 2n and 2n+1 are the beginning and the end of operation n, in a
    list that is linked both ways; entry -1 (the last of the arrays) is its head."""

    def __init__(self, own: Sequence[Operation], zero: float, steps: int) -> None:
        self._own: Final = own
        self._steps: Final = steps
        self._zero: Final = zero
        order = [(one.begun, 0, 2 * n) for n, one in enumerate(own)]
        order += [(one.ended, 1, 2 * n + 1) for n, one in enumerate(own)]
        line = [entry for _, _, entry in sorted(order)]
        self._next = [0] * (2 * len(own) + 1)
        self._back = [0] * (2 * len(own) + 1)
        for before, after in zip([-1, *line], [*line, -1], strict=True):
            self._next[before], self._back[after] = after, before

    def problem(self) -> str:
        """What does not fit, in words; "" when everything does."""
        own, following = self._own, self._next
        tried: set[tuple[int, int]] = set()
        path: list[tuple[int, int]] = []
        placed, value, deepest, stuck = 0, 0, -1, 0
        entry = following[-1]
        for _ in range(self._steps):
            if following[-1] == -1:
                return ""
            number, is_end = divmod(entry, 2)
            if not is_end:
                one = own[number]
                after = one.value if one.writes else value
                now = placed | 1 << number
                fits = one.writes or one.value == value
                if fits and (now, after) not in tried:
                    tried.add((now, after))
                    path.append((number, value))
                    placed, value = now, after
                    self._take_out(number)
                    entry = following[-1]
                else:
                    entry = following[entry]
                continue
            if len(path) > deepest:
                deepest, stuck = len(path), number
            while path:
                last, value = path.pop()
                placed &= ~(1 << last)
                self._put_back(last)
                if own[last].writes:
                    break
            else:
                return self._words(stuck)
            entry = following[2 * last]
        return f"not judged: {self._steps} steps of the search were not enough"

    def _take_out(self, number: int) -> None:
        for entry in (2 * number, 2 * number + 1):
            before, after = self._back[entry], self._next[entry]
            self._next[before], self._back[after] = after, before

    def _put_back(self, number: int) -> None:
        for entry in (2 * number + 1, 2 * number):
            self._next[self._back[entry]] = self._back[self._next[entry]] = entry

    def _words(self, number: int) -> str:
        one = self._own[number]
        when = f"between {one.begun - self._zero:.6f} s and {one.ended - self._zero:.6f} s"
        if one.writes:
            return f"the write of {one.value} {when} has no place in any order"
        written = next((w for w in self._own if w.writes and w.value == one.value), None)
        if one.value and written is None:
            return f"{one.value} was read {when}, and nobody ever wrote it"
        last = max(
            (w for w in self._own if w.writes and w.ended < one.begun),
            key=lambda w: w.begun,
            default=None,
        )
        told = "" if last is None else f"; the write of {last.value} had ended before"
        return f"{one.value} was read {when}, which no order of the writes allows{told}"
