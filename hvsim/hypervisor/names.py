"""Which domain numbers are still named by something: a port, an extent, a right over a domain."""

from collections import Counter


class Names:
    """Counts who names whom, so that nobody has to look for it."""

    def __init__(self) -> None:
        self._named: Counter[int] = Counter()

    def __contains__(self, domid: object) -> bool:
        return domid in self._named

    def hold(self, domid: int) -> None:
        """Something names a domain from now on."""
        self._named[domid] += 1

    def drop(self, domid: int) -> None:
        """It does so no more."""
        self._named[domid] -= 1
        if not self._named[domid]:
            del self._named[domid]
