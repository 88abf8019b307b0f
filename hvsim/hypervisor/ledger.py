"""The ledger: a bounded record of every decision, numbered without gaps.

What a hostile domain can cause at will (refusals) is limited in rate per domain; what was left
out is counted, and the count is in the next line that got through. Everyday success on hot paths
(map, unmap, copy) is only counted.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from hvsim.hypervisor.ratelimit import RateLimit
from hvsim.wire.boot import LEDGER_SIZE

"""Records kept."""
MAX_WAITING: Final = 64
"""Readers that wait for a record at a time."""
REFUSALS_BURST: Final = 32
REFUSALS_PER_SECOND: Final = 8.0

Record = dict[str, object]


class Ledger:
    """Numbered records in a ring.

    A record is a map: ``seq`` from 1 without gaps, ``time`` (Unix seconds), ``mono``
    (nanoseconds of the monotonic clock, the same in all processes of this machine), ``domid`` (-1
    when it is about none), ``kind`` (a word), ``text``, and what else belongs to the kind.

    Args:
        size: records kept; older ones go.
        clock: monotonic nanoseconds.
        wall_offset: Unix time in seconds at which ``clock`` read 0.
    """

    def __init__(
        self, clock: Callable[[], int], size: int = LEDGER_SIZE, wall_offset: float = 0.0
    ) -> None:
        self._clock = clock
        self._wall_offset = wall_offset
        self._records: list[Record] = []
        self._size = size
        self._limits: dict[int, RateLimit] = {}
        self.seq = 0
        """Number of the newest record."""
        self.counters: Counter[str] = Counter()
        """kind -> how often, the suppressed included."""
        self.on_news: Callable[[], None] = self.tell
        """Called when there is a record that somebody waits for; has `tell` called, once, soon."""
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._telling = False

    def record(self, kind: str, domid: int, text: str, **more: object) -> None:
        """Enter one decision."""
        self.counters[kind] += 1
        self._enter(kind, domid, text, more)

    def refuse(self, kind: str, domid: int, text: str, **more: object) -> None:
        """Enter a refusal that the domain *domid* can provoke at will: limited in rate."""
        self.counters[kind] += 1
        limit = self._limits.get(domid)
        if limit is None:
            limit = self._limits[domid] = RateLimit(REFUSALS_BURST, REFUSALS_PER_SECOND)
        if limit.allow(self._clock()):
            suppressed = limit.take_suppressed()
            if suppressed:
                more["suppressed"] = suppressed
            self._enter(kind, domid, text, more)

    def enter(self, kind: str, domid: int, text: str, **more: object) -> None:
        """Enter what was counted, and limited in rate, elsewhere."""
        self._enter(kind, domid, text, more)

    def forget(self, domid: int) -> None:
        """A domain is no more: its rate limit goes."""
        self._limits.pop(domid, None)

    def after(self, seq: int, limit: int) -> list[Record]:
        """Up to *limit* records with numbers above *seq*, oldest first."""
        first = max(seq, self.seq - len(self._records))
        last = min(first + limit, self.seq)
        return [self._records[number % self._size] for number in range(first, last)]

    def wait(self, seq: int, tell: Callable[[], None]) -> None:
        """Call *tell* once there is a record with a number above *seq*.

        When more than MAX_WAITING wait, the one that has waited longest is told now.
        """
        self._waiting.append((seq, tell))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.pop(0)[1]()

    def tell(self) -> None:
        """Tell those whose record has come."""
        self._telling = False
        waiting, self._waiting = self._waiting, []
        for seq, tell in waiting:
            if self.seq > seq:
                tell()
            else:
                self._waiting.append((seq, tell))

    def _enter(self, kind: str, domid: int, text: str, more: dict[str, object]) -> None:
        self.seq += 1
        mono = self._clock()
        record: Record = {
            "seq": self.seq,
            "time": self._wall_offset + mono / 1e9,
            "mono": mono,
            "domid": domid,
            "kind": kind,
            "text": text,
            **more,
        }
        if len(self._records) < self._size:
            self._records.append(record)
        else:
            self._records[(self.seq - 1) % self._size] = record
        if self._waiting and not self._telling:
            self._telling = True
            self.on_news()
