"""Machine frames: who has them, on which NUMA node, and whether they are clean.

A frame is 4 KiB. Nobody outside the hypervisor names a machine frame. A frame that comes back is
dirty until it is scrubbed, and only clean frames are lent. The bytes themselves are the kernel's:
whatever stood on the frames lived in memfds that are closed and emptied *before* the frames are
given back here, and a new memfd begins as zeros; ``scrub`` is the account of that.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from hvsim.abi.errno import EINVAL, ENOMEM
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.work import SMALL

Run = tuple[int, int]
"""(first, count)"""


class Runs:
    """A set of integers kept as maximal runs."""

    __slots__ = ("_lengths", "_starts", "total")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._lengths: dict[int, int] = {}
        self.total = 0

    def __iter__(self) -> Iterator[Run]:
        return ((start, self._lengths[start]) for start in self._starts)

    def meets(self, first: int, count: int) -> bool:
        """Whether one of *count* numbers from *first* is in."""
        index = bisect_left(self._starts, first + count) - 1
        return index >= 0 and self._starts[index] + self._lengths[self._starts[index]] > first

    def run_of(self, number: int) -> Run | None:
        """The run that *number* lies in."""
        index = bisect_right(self._starts, number) - 1
        if index < 0:
            return None
        start = self._starts[index]
        length = self._lengths[start]
        return (start, length) if number < start + length else None

    def add(self, first: int, count: int) -> None:
        """Put *count* numbers from *first* in. Raises ValueError when one is in already."""
        end = first + count
        index = bisect_left(self._starts, first)
        before = self._starts[index - 1] if index else None
        after = self._starts[index] if index < len(self._starts) else None
        if count < 1 or (after is not None and after < end):
            raise ValueError(f"[{first}, {end}) is in already")
        if before is not None and before + self._lengths[before] > first:
            raise ValueError(f"[{first}, {end}) is in already")
        self.total += count
        if after == end:
            count += self._lengths.pop(end)
            del self._starts[index]
        if before is not None and before + self._lengths[before] == first:
            self._lengths[before] += count
        else:
            insort(self._starts, first)
            self._lengths[first] = count

    def remove(self, first: int, count: int) -> None:
        """Take *count* numbers from *first* out. Raises ValueError when one is not in."""
        run = self.run_of(first)
        if run is None or count < 1 or first + count > run[0] + run[1]:
            raise ValueError(f"[{first}, {first + count}) is not all in")
        start, length = run
        self.total -= count
        if start == first:
            del self._starts[bisect_left(self._starts, start)]
            del self._lengths[start]
        else:
            self._lengths[start] = first - start
        rest = start + length - (first + count)
        if rest:
            insort(self._starts, first + count)
            self._lengths[first + count] = rest

    def take_high(self, count: int) -> int | None:
        """Take *count* consecutive numbers, as high as there are; None when there are none."""
        for start in reversed(self._starts):
            length = self._lengths[start]
            if length >= count:
                first = start + length - count
                self.remove(first, count)
                return first
        return None

    def take_any(self, count: int, most: int | None = None) -> list[Run]:
        """Take *count* numbers wherever they lie, low ones first; fewer of them when they lie in
        more than *most* runs. Raises ValueError."""
        if count > self.total:
            raise ValueError(f"{count} wanted, {self.total} there")
        taken: list[Run] = []
        while count and len(taken) != most:
            start = self._starts[0]
            part = min(count, self._lengths[start])
            self.remove(start, part)
            taken.append((start, part))
            count -= part
        return taken


class Heap:
    """The frames of the machine.

    Args:
        total: number of frames, shared out evenly over *nodes* NUMA nodes.
    """

    def __init__(self, total: int, nodes: int = 1) -> None:
        if not 1 <= nodes <= total:
            raise ValueError(f"{total} frames on {nodes} nodes")
        self.total = total
        self.claimed = 0
        """Frames that are promised to somebody who takes them piece by piece."""
        self._bounds = [total * node // nodes for node in range(nodes + 1)]
        self._clean = [Runs() for _ in range(nodes)]
        self._dirty = [Runs() for _ in range(nodes)]
        for node, clean in enumerate(self._clean):
            clean.add(self._bounds[node], self._bounds[node + 1] - self._bounds[node])

    @property
    def nodes(self) -> int:
        """How many NUMA nodes there are."""
        return len(self._clean)

    @property
    def free(self) -> int:
        """Frames that can be lent: clean and dirty."""
        return sum(runs.total for runs in (*self._clean, *self._dirty))

    @property
    def dirty(self) -> int:
        """Frames that wait for the scrubber."""
        return sum(runs.total for runs in self._dirty)

    def free_on(self, node: int) -> int:
        """Frames of one node that can be lent."""
        return self._clean[node].total + self._dirty[node].total

    def node_of(self, frame: int) -> int:
        """The node that a frame is on."""
        return bisect_right(self._bounds, frame) - 1

    def claim(self, count: int) -> None:
        """Promise *count* frames. Raises XenError: ENOMEM; EINVAL for a bad count."""
        if count < 1:
            raise XenError(EINVAL, f"{count} frames")
        if count > self.free - self.claimed:
            left = self.free - self.claimed
            raise XenError(ENOMEM, f"{count} frames are wanted, {left} are free")
        self.claimed += count

    def unclaim(self, count: int) -> None:
        """Take a promise of *count* frames back."""
        self.claimed -= count

    def take_claimed(self, count: int, most: int, node: int | None = None) -> list[Run]:
        """Lend clean frames that were claimed: *count* of them, or fewer, in up to *most* runs."""
        order = sorted(range(self.nodes), key=lambda n: (n != node, -self.free_on(n), n))
        lent: list[Run] = []
        for one in order:
            part = min(count, self.free_on(one))
            if part > self._clean[one].total:
                self._scrub_node(one, part - self._clean[one].total, most)
                part = min(part, self._clean[one].total)
            if part and len(lent) < most:
                taken = self._clean[one].take_any(part, most - len(lent))
                got = sum(length for _, length in taken)
                lent += taken
                count -= got
                self.claimed -= got
        return lent

    def allocate(self, count: int, node: int | None = None) -> list[Run]:
        """Lend *count* clean frames, from *node* first, then from the nodes with most room.

        Raises: XenError(ENOMEM), nothing is lent then; XenError(EINVAL) for a bad count or node.
        """
        if node is not None and not 0 <= node < self.nodes:
            raise XenError(EINVAL, f"{count} frames on node {node}")
        self.claim(count)
        lent: list[Run] = []
        while count:
            taken = self.take_claimed(count, SMALL, node)
            count -= sum(length for _, length in taken)
            lent += taken
        return lent

    def release(self, runs: list[Run]) -> None:
        """Take frames back, dirty. Raises ValueError for a frame that was not lent."""
        for first, count in runs:
            if not (first >= 0 and count > 0 and first + count <= self.total):
                raise ValueError(f"frames [{first}, {first + count}) do not exist")
            while count:
                node = self.node_of(first)
                part = min(count, self._bounds[node + 1] - first)
                if self._clean[node].meets(first, part):
                    raise ValueError(f"frames [{first}, {first + part}) are free already")
                self._dirty[node].add(first, part)
                first += part
                count -= part

    def scrub(self, limit: int | None = None, most: int | None = None) -> int:
        """Make up to *limit* dirty frames clean, in up to *most* runs of each node; returns how
        many."""
        done = 0
        for node in range(self.nodes):
            todo = self._dirty[node].total
            if limit is not None:
                todo = min(todo, limit - done)
            done += self._scrub_node(node, todo, most)
        return done

    def _scrub_node(self, node: int, count: int, most: int | None) -> int:
        done = 0
        for first, length in self._dirty[node].take_any(count, most):
            self._clean[node].add(first, length)
            done += length
        return done
