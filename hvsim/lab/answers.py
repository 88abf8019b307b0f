"""What comes of a request to the toolstack: an answer, or why there is none."""

from typing import Any, Final, NamedTuple

from hvsim.errors import HvsimError

FIRST_LOOK: Final = 0.15
"""Seconds of silence before anybody is asked why."""


class Answer(NamedTuple):
    """A whole answer: the exit code, what was said, and the data."""

    exit: int
    out: str
    err: str
    data: Any

    @property
    def errors(self) -> list[str]:
        """The lines of what was said on standard error."""
        return self.err.strip().split("\n") if self.err.strip() else []


class ControlError(HvsimError):
    """The toolstack daemon did not answer as agreed."""


class ControlTimeout(ControlError):
    """The toolstack daemon did not answer in time."""


class RequestLost(ControlError):
    """The toolstack that had the request has died; the one that came after it knows nothing of
    it."""
