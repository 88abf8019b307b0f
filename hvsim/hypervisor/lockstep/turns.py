"""Whose turn it is.  Pure.

A process has the *turn* from the moment it is given it until it waits: in its vCPU (it parks), for
the answer to a call that is left open, or until it has ended.  While one has it nobody else runs an
instruction, so all that happens has one order.

What may go on next: a doorbell that is on its way, a process that is to be made, and a process that
waits and has something to wait for no longer.
"""

from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from hvsim.hypervisor.lockstep.choices import Recorded

NEVER: Final = -1
"""The deadline of who waits without one."""
_RUNS, _PARKED, _CALLS = range(3)


class Option(NamedTuple):
    """Something that may happen next: what it is called, and how it is done."""

    name: str
    do: Callable[[], None]


@dataclass(slots=True, eq=False)
class Seat:
    """One process.

    Attributes:
        name: for people, and for priorities.
        halted: whether it is stopped, and gets no turn.
        goes_on: that it is given the turn.
        until: when it goes on at the latest, of the host's clock; NEVER.
        late: answers to calls with a tag, which are sent when it has its turn again.
        answer: what it waits for, or that it has the turn, as soon as there is one.
        since: when it began to wait, in turns.
    """

    name: str
    halted: Callable[[], bool]
    goes_on: Option
    state: int = _RUNS
    until: int = NEVER
    late: list[Callable[[], None]] = field(default_factory=list)
    answer: Callable[[], None] | None = None
    since: int = 0


class Turns:
    """Everybody who takes turns.

    Args:
        choices: picks who is next.
        begins: told of a process that is about to have the turn.

    Attributes:
        turn: the token of the process that has the turn; None while nobody has it.
        given: how many turns there were.
    """

    def __init__(self, choices: Recorded, begins: Callable[[int], None]) -> None:
        self._choices = choices
        self._begins = begins
        self._seats: dict[int, Seat] = {}
        self._bells: dict[str, Option] = {}
        self._births: deque[Option] = deque()
        self.turn: int | None = None
        self.given = 0

    # -- what happens ------------------------------------------------------------------------

    def birth(
        self, token: int, name: str, halted: Callable[[], bool], make: Callable[[], None]
    ) -> None:
        """A process is to be made: *make* does it, and it has the turn from then on."""

        def born() -> None:
            self._seats[token] = Seat(name, halted, Option(name, partial(self._resume, token)))
            self._give(token)
            make()

        self._births.append(Option(f"birth of {name}", born))

    def bell(self, name: str, ring: Callable[[], None]) -> None:
        """A doorbell is on its way; rings that nobody has heard yet merge."""
        self._bells.setdefault(name, Option(name, ring))

    def takes(self, token: int) -> bool:
        """Whether the process takes turns."""
        return token in self._seats

    def parks(self, token: int, until: int, go_on: Callable[[], None]) -> None:
        """The process waits in its vCPU; *go_on* tells it that it has the turn."""
        self._waits(token, _PARKED, until)
        self._seats[token].answer = go_on

    def calls(self, token: int) -> None:
        """The process waits for the answer to an open call, if it has not parked."""
        if token in self._seats and self._seats[token].state == _RUNS:
            self._waits(token, _CALLS, NEVER)

    def answer(self, token: int, send: Callable[[], None], tagged: bool) -> bool:
        """An open call of the process is answered: *send* is done when it has its turn again.

        Returns False for who takes no turns: he is answered at once.
        """
        seat = self._seats.get(token)
        if seat is None:
            return False
        if tagged:
            seat.late.append(send)
        else:
            seat.answer = send
        return True

    def gone(self, token: int) -> None:
        """The process has ended."""
        self._seats.pop(token, None)
        if self.turn == token:
            self.turn = None

    # -- what may happen next ----------------------------------------------------------------

    def next(self, now: int, ready: Container[int]) -> Option | None:
        """What is to happen, by the chooser; None when nothing can before time goes on.

        Args:
            ready: the tokens of those for whom something has come that they wait for.
        """
        options = self._options(now, ready)
        if len(options) > 1:
            return options[self._choices.choose([one.name for one in options])]
        return options[0] if options else None

    def deadline(self) -> int | None:
        """When the first of those that wait goes on by itself."""
        times = [
            seat.until
            for seat in self._seats.values()
            if seat.state == _PARKED and seat.until != NEVER and not seat.halted()
        ]
        return min(times, default=None)

    def parked(self) -> list[int]:
        """Who waits in his vCPU."""
        return [token for token, seat in self._seats.items() if seat.state == _PARKED]

    def take(self, option: Option) -> None:
        """It happens."""
        if self._bells.get(option.name) is option:
            del self._bells[option.name]
        elif option in self._births:
            self._births.remove(option)
        option.do()

    def _options(self, now: int, ready: Container[int]) -> list[Option]:
        able = []
        for token, seat in self._seats.items():  # in one piece: it is done for every turn
            if seat.state == _PARKED:
                due = seat.until != NEVER and seat.until <= now
                if not (due or token in ready or seat.late):
                    continue
            elif seat.state != _CALLS or seat.answer is None:
                continue
            if not seat.halted():
                able.append((seat.since, token, seat.goes_on))
        able.sort()
        return [*self._bells.values(), *self._births, *(option for _, _, option in able)]

    def _resume(self, token: int) -> None:
        seat = self._seats[token]
        late, seat.late = seat.late, []
        answer, seat.answer = seat.answer, None
        self._give(token)
        # In this order: it goes on with the last.
        for send in late:
            send()
        assert answer is not None, "who is able waits for it"
        answer()

    def _give(self, token: int) -> None:
        self.given += 1
        self.turn = token
        self._seats[token].state = _RUNS
        self._begins(token)

    def _waits(self, token: int, state: int, until: int) -> None:
        seat = self._seats[token]
        seat.state, seat.until, seat.since = state, until, self.given
        if self.turn == token:
            self.turn = None
