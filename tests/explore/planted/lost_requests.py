"""Lost unanswered requests: a blkfront forgets what was on the ring of a backend that has gone.

Whoever waits for one of them waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from hvsim.domain.injection import Fault
from hvsim.drivers.block.queue import RequestQueue
from hvsim.faults.inject.swap import swap


def plant(_fault: Fault) -> Callable[[], None]:
    """In a guest."""
    detach = RequestQueue.detach

    def forgetting(queue: RequestQueue) -> None:
        queue.under_way.clear()
        detach(queue)

    return swap((RequestQueue, "detach", forgetting))
