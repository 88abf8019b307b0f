"""What a checker says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Of one checker.

    Attributes:
        judged: what it has looked at, in words.
        problems: what is wrong; empty when the property held.
    """

    judged: str
    problems: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problems
