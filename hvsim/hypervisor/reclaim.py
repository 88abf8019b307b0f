"""Taking back the memory of extents that were given up.

Nobody can take a descriptor or a mapping away from a process.  But the kernel tells whether anybody
has one (``Memory.held``), so an extent's frames are lent anew only when nobody has: what a domain
has freed and still holds remains its own RAM, and what a peer holds of a dead domain keeps that a
zombie, as a mapped page does in Xen.  Then the pages are freed, a few at a time.
"""

from collections.abc import Callable, Generator
from functools import partial
from typing import Final

from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.work import PAGES, SMALL, Work

FIRST_LOOK: Final = 1_000_000
MOST: Final = 1_000_000_000
"""Nanoseconds between two looks at what somebody holds: at first, and at most."""


class Reclaim:
    """Looks after what the domains have given up.

    Args:
        done: called with a domain when each of its extents was looked at once.
    """

    def __init__(
        self, host: Host, work: Work, done: Callable[[Domain], Generator[None, None, None]]
    ) -> None:
        self._host = host
        self._work = work
        self._done = done

    def look(self, domain: Domain) -> None:
        """Something was given up: free it, at once or when nobody holds it any more."""
        domain.patience = FIRST_LOOK
        if domain.sweeping:
            domain.sweep_again = True
        else:
            self._work.start(self.sweep(domain))

    def sweep(self, domain: Domain) -> Generator[None, None, None]:
        """Look at each extent that was given up, and free those that nobody holds.

        A job. When one is under way it waits for that, and then looks itself.
        """
        while domain.sweeping:
            yield
        domain.sweeping = True
        try:
            again = True
            while again:
                domain.sweep_again = False
                yield from self._free(domain)
                yield from self._done(domain)
                again = domain.sweep_again
        finally:
            domain.sweeping = False
        if domain.memory.leaving:
            due = self._host.now() + domain.patience
            if not domain.next_look or due < domain.next_look:
                domain.next_look = due
                self._host.call_later(domain.patience, partial(self._look_again, domain, due))
            domain.patience = min(2 * domain.patience, MOST)

    def _look_again(self, domain: Domain, due: int) -> None:
        if domain.next_look == due:  # else there was, or is to be, one sooner
            domain.next_look = 0
            if not domain.sweeping:
                self._work.start(self.sweep(domain))

    def _free(self, domain: Domain) -> Generator[None, None, None]:
        done = 0
        for extent in list(domain.memory.leaving.values()):
            done += PAGES // SMALL
            if not extent.memory.held():
                if extent.nr_pages > PAGES:
                    while not extent.memory.shrink(PAGES):
                        yield
                # What is left is little, or is sealed and goes at once.
                done += min(extent.nr_pages, PAGES)
                extent.memory.close()
                domain.memory.reclaimed(extent)
            if done >= PAGES:
                done = 0
                yield
