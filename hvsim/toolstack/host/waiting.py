"""What the toolstack is doing, and what it waits for meanwhile: every wait has a name.

Whoever asks the toolstack for something and hears nothing can ask it what it is busy with
(``status`` on the control wire).  So each request, and each thing that the toolstack does by
itself, is a *task* with a name; within it ``waiting`` says what is waited for, of whom, and how
long.  What keeps that one from it is looked up when somebody asks, never guessed (``trouble``).

::

    with waiting("the backend of xvda to reach InitWait", Server("vbd", 3, 1), 10.0):
        await ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from hvsim.toolstack.host.trouble import Census, Trouble
from hvsim.wire import status


class Party(Protocol):
    """Whom one can wait for."""

    def trouble(self, census: Census) -> Trouble | None:
        """What keeps it from doing its part; None: it runs."""


@dataclass(frozen=True, slots=True)
class Dom0Process:
    """A process of dom0, or of the hypervisor, by name."""

    name: str

    def trouble(self, census: Census) -> Trouble | None:
        """See Party."""
        return census.dom0(self.name)


STORE: Final = Dom0Process("xenstored")


@dataclass(frozen=True, slots=True)
class Other:
    """A domain, by number."""

    domid: int

    def trouble(self, census: Census) -> Trouble | None:
        """See Party."""
        return census.domain(self.domid)


@dataclass(frozen=True, slots=True)
class Ending:
    """A domain that is to end, by number: that it has ended is no trouble."""

    domid: int

    def trouble(self, census: Census) -> Trouble | None:
        """See Party."""
        found = census.domain(self.domid)
        return found if found is not None and found.what in ("stalled", "paused") else None


@dataclass(frozen=True, slots=True)
class Server:
    """Who serves a device: its backend class, the domain that uses it, the domain that serves."""

    kind: str
    domid: int
    backend_domid: int

    def trouble(self, census: Census) -> Trouble | None:
        """See Party."""
        return census.server(self.kind, self.domid, self.backend_domid)


@dataclass(frozen=True, slots=True)
class Several:
    """Whoever of several has not done its part yet."""

    parties: tuple[Party, ...]

    def trouble(self, census: Census) -> Trouble | None:
        """See Party; the first that is found, lasting ones before others."""
        found = [one for party in self.parties if (one := party.trouble(census)) is not None]
        return next((one for one in found if one.lasting), found[0] if found else None)


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Another task, of those in *tasks*, by name: what it waits for is waited for here."""

    name: str
    tasks: Tasks

    def trouble(self, census: Census) -> Trouble | None:
        """See Party."""
        waits = [wait for task in self.tasks if task.name == self.name for wait in task.waits]
        return Several(tuple(wait.party for wait in waits)).trouble(census)


NOBODY: Final = Several(())
"""For a wait that the toolstack itself ends."""


@dataclass(eq=False, slots=True)
class Wait:
    """One wait under way.

    Attributes:
        what: in words that follow "waits for".
        limit: seconds until it is given up; None: as long as whoever asked wants.
    """

    what: str
    party: Party
    limit: float | None
    since: float


@dataclass(eq=False, slots=True)
class Task:
    """One thing that the toolstack does.

    Attributes:
        waits: what it waits for now, the outer ones first; parts of it may wait side by side.
    """

    name: str
    since: float = field(default_factory=anyio.current_time)
    waits: list[Wait] = field(default_factory=list)

    def describe(self, census: Census, now: float) -> status.Task:
        """For who asks what is being done."""
        return status.Task(
            task=self.name,
            seconds=round(now - self.since, 3),
            waits=tuple(
                status.Wait(
                    what=wait.what,
                    seconds=round(now - wait.since, 3),
                    limit=wait.limit,
                    trouble=_obstacle(wait.party.trouble(census)),
                )
                for wait in self.waits
            ),
        )


Tasks = dict[Task, None]
"""Those that are under way, the oldest first: their order is what a person is told."""


def _obstacle(trouble: Trouble | None) -> status.Obstacle | None:
    if trouble is None:
        return None
    return status.Obstacle(
        who=trouble.who, what=trouble.what, text=trouble.text, lasting=trouble.lasting
    )


_CURRENT: ContextVar[Task | None] = ContextVar("hvsim_task", default=None)


@contextmanager
def working(name: str, tasks: Tasks | None = None) -> Iterator[Task]:
    """Within the block, and in what is started in it, a task of that name is under way; it is in
    *tasks* meanwhile."""
    task = Task(name)
    token = _CURRENT.set(task)
    if tasks is not None:
        tasks[task] = None
    try:
        yield task
    finally:
        _CURRENT.reset(token)
        if tasks is not None:
            tasks.pop(task, None)


@contextmanager
def waiting(what: str, party: Party, limit: float | None = None) -> Iterator[None]:
    """Within the block the current task waits for *what* of *party*, at most *limit* seconds (who
    waits sees to that)."""
    task = _CURRENT.get()
    if task is None:
        yield
        return
    wait = Wait(what, party, limit, anyio.current_time())
    task.waits.append(wait)
    try:
        yield
    finally:
        task.waits.remove(wait)
