"""What a toolstack is doing, as it tells who asks (``hvsim.wire.control.Told``)."""

from hvsim.wire.typed import Message


class Obstacle(Message, frozen=True):
    """Why somebody does not do what others wait for (``toolstack.host.trouble``).

    Attributes:
        who: its name; *what* keeps it; *text* a sentence.
        lasting: it does not pass by itself.
    """

    who: str
    what: str
    text: str
    lasting: bool


class Wait(Message, frozen=True):
    """One wait under way.

    Attributes:
        what: in words that follow "waits for".
        seconds: how long so far; given up after *limit*, None: not at all.
        trouble: what keeps the one who is waited for, None: it runs.
    """

    what: str
    seconds: float
    limit: float | None
    trouble: Obstacle | None


class Task(Message, frozen=True):
    """One thing that is being done, and what it waits for, the outer waits first."""

    task: str
    seconds: float
    waits: tuple[Wait, ...]


class Status(Message, frozen=True):
    """The request of whoever asks, None when there is none, and everything else."""

    yours: Task | None
    others: tuple[Task, ...]
