"""Total store order, as a model: every outcome of two short programs on an x86 processor.

A store goes into the processor's own buffer and becomes visible some time later, in order; a load
sees the own buffer first, then memory.  A fence lasts until the buffer is empty.  (Intel SDM vol.
3A 9.2; Owens, Sarkar, Sewell, "A better x86 memory model: x86-TSO", 2009.)  The two programs are
ordinary Python functions that reach their shared words through a `Processor`; each runs in a
thread that goes on only when the schedule says so, one memory operation at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

Race = Callable[["Processor", "Processor"], tuple[Callable[[], Any], Callable[[], Any]]]
STEP_SECONDS = 30.0


class Processor:
    """One side: what `ring._index` is while the model runs."""

    def __init__(self, memory: list[int]) -> None:
        self.memory = memory
        self.buffer: list[tuple[int, int]] = []
        self.done = False
        self.fencing = False
        self.result: Any = None
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._thread: threading.Thread | None = None

    # what the program does

    def __getitem__(self, index: int) -> int:
        self._wait()
        stored = [value for at, value in self.buffer if at == index]
        return stored[-1] if stored else self.memory[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._wait()
        self.buffer.append((index, value))

    def fence(self) -> None:
        self.fencing = True
        self._wait()
        self.fencing = False

    def _wait(self) -> None:
        """Stand before a memory operation until the schedule lets it happen."""
        self._stands.release()
        assert self._go.acquire(timeout=STEP_SECONDS)

    # what the schedule does

    def start(self, program: Callable[[], Any]) -> None:
        def run() -> None:
            self.result = program()
            self.done = True
            self._stands.release()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert self._stands.acquire(timeout=STEP_SECONDS)

    def choices(self) -> list[Callable[[], None]]:
        """What may happen next on this side."""
        found: list[Callable[[], None]] = []
        if not self.done and not (self.fencing and self.buffer):
            found.append(self._step)
        if self.buffer:
            found.append(self._drain)
        return found

    def _step(self) -> None:
        self._go.release()
        assert self._stands.acquire(timeout=STEP_SECONDS)

    def _drain(self) -> None:
        at, value = self.buffer.pop(0)
        self.memory[at] = value

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join(STEP_SECONDS)


def every_order(race: Race) -> set[tuple[Any, Any]]:
    """The pairs of results that the two programs made by *race* can end with."""
    outcomes: set[tuple[Any, Any]] = set()
    untried: list[list[int]] = [[]]
    while untried:
        outcome, more = _one_order(race, untried.pop())
        outcomes.add(outcome)
        untried += more
    return outcomes


def _one_order(race: Race, schedule: Sequence[int]) -> tuple[tuple[Any, Any], list[list[int]]]:
    """Run by *schedule*, then always by the first choice: (results, schedules yet to be tried)."""
    memory: list[int] = []
    sides = (Processor(memory), Processor(memory))
    for side, program in zip(sides, race(*sides), strict=True):
        side.start(program)
    taken: list[int] = []
    untried: list[list[int]] = []
    while choices := [choice for side in sides for choice in side.choices()]:
        position = len(taken)
        if position < len(schedule):
            number = schedule[position]
        else:
            number = 0
            untried += [[*taken, other] for other in range(1, len(choices))]
        taken.append(number)
        choices[number]()
    for side in sides:
        side.join()
    return (sides[0].result, sides[1].result), untried
