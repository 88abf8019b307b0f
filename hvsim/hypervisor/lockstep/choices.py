"""Who picks among several that may go on.  Pure; each choice comes from a seed, or from a tape.

A *choice* is made where there are two options or more, and is the number of one of them; 0 is the
one that has waited longest.  A *tape* holds those that were not 0, by the number of the choice, and
says all about a run: what is not on it is 0.  So a tape can be cut, and is still one.

Source of PCT: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with
Probabilistic Guarantees of Finding Bugs" (ASPLOS 2010).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from hvsim.hypervisor.clock import dice

DEPTH: Final = 3
"""Changes of priority in one run of PCT, and one more than a bug of that depth needs."""
LENGTH: Final = 2_000
"""Choices among which PCT spreads its changes."""

PASSED_OVER: Final = 50
"""So often in a row somebody is passed over by PCT before the highest becomes the lowest: one who
looks again and again, and waits for what another does, would keep him from it for ever."""


class Dice(Protocol):
    """As `random.Random`."""

    def random(self) -> float:
        """From 0 to 1."""

    def randrange(self, stop: int, /) -> int:
        """From 0 on, less than *stop*."""


class Chooser(Protocol):
    """Picks."""

    def choose(self, number: int, options: Sequence[str]) -> int:
        """One of the *options*, which are names, for the choice of that *number*."""


class Longest:
    """Always the one that has waited longest."""

    def choose(self, _number: int, _options: Sequence[str]) -> int:
        """The first."""
        return 0


class Anyone:
    """Each with the same chance."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def choose(self, _number: int, options: Sequence[str]) -> int:
        """By the dice."""
        return self._dice.randrange(len(options))


class Priorities:
    """PCT: the highest priority goes on, and at a few moments the highest becomes the lowest."""

    def __init__(self, dice: Dice, depth: int = DEPTH, length: int = LENGTH) -> None:
        self._dice = dice
        self._changes = {dice.randrange(length) for _ in range(depth)}
        self._priorities: dict[str, float] = {}
        self._lowest = 0.0
        self._passed: dict[str, int] = {}

    def choose(self, number: int, options: Sequence[str]) -> int:
        """Who has the highest priority; of equal names the first."""
        for name in options:
            if name not in self._priorities:
                self._priorities[name] = self._dice.random()
        best = self._highest(options)
        if number in self._changes or self._patience_ends(options):
            self._lowest -= 1.0
            self._priorities[options[best]] = self._lowest
            best = self._highest(options)
        self._passed = {name: self._passed.get(name, 0) + 1 for name in options}
        del self._passed[options[best]]
        return best

    def _highest(self, options: Sequence[str]) -> int:
        return max(range(len(options)), key=lambda one: self._priorities[options[one]])

    def _patience_ends(self, options: Sequence[str]) -> bool:
        return any(self._passed.get(name, 0) >= PASSED_OVER for name in options)


class Tape:
    """What was chosen in an earlier run."""

    def __init__(self, choices: Mapping[int, int]) -> None:
        self._choices = choices

    def choose(self, number: int, options: Sequence[str]) -> int:
        """As the tape says; a number that is no option's here is that of the last."""
        return min(self._choices.get(number, 0), len(options) - 1)


class Recorded:
    """A chooser, and the tape of what it has picked.

    Attributes:
        tape: the choices that were not 0, by number.
        made: how many choices there were.
    """

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self.tape: dict[int, int] = {}
        self.made = 0

    def choose(self, options: Sequence[str]) -> int:
        """The next choice; where there is one option only there is none."""
        if len(options) == 1:
            return 0
        picked = self._chooser.choose(self.made, options)
        if picked:
            self.tape[self.made] = picked
        self.made += 1
        return picked

    def part(self, start: int, count: int) -> dict[int, int]:
        """What is on the tape of the *count* choices from *start* on."""
        numbers = range(start, min(start + count, self.made))
        return {number: self.tape[number] for number in numbers if number in self.tape}


def chooser(way: str, seed: str, tape: Mapping[int, int]) -> Chooser:
    """By its name: "longest", "random", "pct" or "tape".  Raises: ValueError for another."""
    match way:
        case "longest":
            return Longest()
        case "random":
            return Anyone(dice(f"lockstep/{seed}"))
        case "pct":
            return Priorities(dice(f"lockstep/{seed}"))
        case "tape":
            return Tape(tape)
    raise ValueError(f"there is no way to choose that is called {way!r}")
