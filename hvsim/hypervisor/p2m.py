"""Which machine frame is under a guest frame: the physical-to-machine map of a domain.

Guest frames without a machine frame under them are holes: none was put there yet, or it was taken
out again (XENMEM_populate_physmap, XENMEM_decrease_reservation).
"""

from bisect import bisect_right

from hvsim.hypervisor.heap import Run


class P2M:
    """Runs of guest frames, each on a run of machine frames.

    Attributes:
        total: guest frames that have a machine frame.
    """

    def __init__(self) -> None:
        self.total = 0
        self._runs: list[tuple[int, int, int]] = []  # gfn, mfn, count; ascending, apart

    @property
    def end(self) -> int:
        """The guest frame behind the last one that has a machine frame."""
        return self._runs[-1][0] + self._runs[-1][2] if self._runs else 0

    def populate(self, gfn: int, runs: list[Run]) -> None:
        """Put machine frames under consecutive guest frames from *gfn* on.

        Raises: ValueError: one of them is no hole; nothing is changed then.
        """
        count = sum(length for _, length in runs)
        if not count:
            return
        index = bisect_right(self._runs, gfn, key=lambda run: run[0])
        before = self._runs[index - 1] if index else (0, 0, 0)
        after = self._runs[index][0] if index < len(self._runs) else gfn + count
        if before[0] + before[2] > gfn or after < gfn + count:
            raise ValueError(f"guest frames [{gfn}, {gfn + count}) are no hole")
        new: list[tuple[int, int, int]] = []
        for mfn, length in runs:
            new.append((gfn, mfn, length))
            gfn += length
        self._runs[index:index] = new
        self.total += count

    def decrease(self, gfn: int, count: int) -> list[Run]:
        """Take the machine frames out from under *count* guest frames: a hole is left.

        Raises: ValueError: one of them is a hole already; nothing is changed then.
        """
        first = bisect_right(self._runs, gfn, key=lambda run: run[0]) - 1
        at, last, freed = gfn, first, list[Run]()
        while at < gfn + count:
            run = self._runs[last] if 0 <= last < len(self._runs) else None
            if run is None or not run[0] <= at < run[0] + run[2]:
                raise ValueError(f"guest frame {at} is a hole")
            part = min(gfn + count, run[0] + run[2]) - at
            freed.append((run[1] + at - run[0], part))
            at += part
            last += 1
        if freed:
            left, right = self._runs[first], self._runs[last - 1]
            kept = [(left[0], left[1], gfn - left[0])] if left[0] < gfn else []
            if at < right[0] + right[2]:
                kept.append((at, right[1] + at - right[0], right[0] + right[2] - at))
            self._runs[first:last] = kept
        self.total -= count
        return freed

    def frame(self, gfn: int) -> int | None:
        """The machine frame under a guest frame; None for a hole."""
        run = self._run(gfn)
        return None if run is None else run[1] + gfn - run[0]

    def consecutive(self, gfn: int) -> int:
        """How many guest frames from *gfn* on lie on consecutive machine frames; 0 for a hole."""
        run = self._run(gfn)
        return 0 if run is None else run[0] + run[2] - gfn

    def _run(self, gfn: int) -> tuple[int, int, int] | None:
        index = bisect_right(self._runs, gfn, key=lambda run: run[0]) - 1
        if index < 0:
            return None
        run = self._runs[index]
        return run if gfn < run[0] + run[2] else None
