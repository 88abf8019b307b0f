"""Long work in pieces, so that nobody waits for it.

The hypervisor is one thread: what it does at a stretch, everybody waits for.  So whatever may be
long because of what a domain holds or asks is a *job*: a generator that yields when it has done a
piece.  The server runs one piece in each round, of the job whose turn it is, and serves whoever
asks in between.  Xen does the same (hypercall continuations, domain_relinquish_resources).

Between two pieces the world goes on: a job must look again at whatever it remembers.

A piece is counted, not timed: so many entries, pages or lines as cost a fraction of a millisecond
(:data:`SMALL`, :data:`PAGES`); ``tests/hypervisor/test_bounds.py`` measures what they do cost.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, TypeVar

SMALL: Final = 32
"""Things in one piece whose cost is some microseconds each: grants, ports, records, lines."""
PAGES: Final = 256
"""Pages that are freed in one piece, at half a microsecond each."""

Job = Generator[None, None, None]
Item = TypeVar("Item")


class Work:
    """The jobs that are under way.

    Args:
        failed: told of an exception out of a job, which is a bug of ours and ends the job alone.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._jobs: deque[Job] = deque()

    @property
    def waiting(self) -> bool:
        """Whether there is something to be done."""
        return bool(self._jobs)

    def start(self, job: Job) -> None:
        """Do the first piece now, and the rest later."""
        self._run(job)

    def turn(self) -> None:
        """One piece of the job whose turn it is."""
        if self._jobs:
            self._run(self._jobs.popleft())

    def _run(self, job: Job) -> None:
        try:
            next(job)
        except StopIteration:
            return
        except Exception as error:
            self._failed(error)
            return
        self._jobs.append(job)


def pieces(items: Iterable[Item], size: int = SMALL) -> Iterator[tuple[bool, list[Item]]]:
    """*items* in lists of up to *size*, each with whether a job is to yield before it::

    for pause, piece in pieces(everything):
        if pause:
            yield
        ...
    """
    piece: list[Item] = []
    later = False
    for item in items:
        if len(piece) == size:
            yield later, piece
            piece, later = [], True
        piece.append(item)
    if piece:
        yield later, piece
