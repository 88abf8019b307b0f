"""A half of a ring that breaks the rules: what every fault of a ring stands on.

It has the methods of `FrontRing` or `BackRing` (``domain/ring.py``) and passes everything on, but
for what its fault is about.  The true ring keeps its accounts; what the peer is to meet is written
into the true page.  It has none of the compiled shortcuts, so that everything passes here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from hvsim.abi.ring import (
    INDEX_MASK,
    REQ_EVENT,
    REQ_PROD,
    RSP_EVENT,
    RSP_PROD,
    slot_offset,
)

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.xenbus.device import Device


class Half:
    """Before a half of a ring.

    Args:
        ring: what is used, were it not for us: a true ring, or another fault before it.
        front: whether it is the frontend's half.
        restore: takes the fault out of this domain.

    Attributes:
        ring: as above; changes when something comes between, or goes.
        true: the ring that the driver made.
    """

    def __init__(self, ring: Any, fault: Fault, front: bool, restore: Callable[[], None]) -> None:
        self.ring = ring
        self.true: Final = true_of(ring)
        self.fault: Final = fault
        self.front: Final = front
        self.restore: Final = restore

    # -- what a driver uses --------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Number of slots."""
        return int(self.true.size)

    @property
    def free(self) -> int:
        """Of a frontend: slots that may be produced into."""
        return int(self.ring.free)

    @property
    def req_prod_pvt(self) -> int:
        """Of a frontend: requests written."""
        return int(self.true.req_prod_pvt)

    @property
    def rsp_cons(self) -> int:
        """Of a frontend: responses taken."""
        return int(self.true.rsp_cons)

    @property
    def rsp_prod_pvt(self) -> int:
        """Of a backend: responses written."""
        return int(self.true.rsp_prod_pvt)

    @property
    def req_cons(self) -> int:
        """Of a backend: requests taken."""
        return int(self.true.req_cons)

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """What the compiled service has done before we came."""
        reads, writes, read, written = getattr(self.true, "counters", (0, 0, 0, 0))
        return reads, writes, read, written

    def produce(self, data: bytes) -> None:
        """As that of the ring."""
        self.ring.produce(data)

    def push(self) -> bool:
        """As that of the ring."""
        return bool(self.ring.push())

    def consume(self) -> bytes | None:
        """As that of the ring."""
        taken: bytes | None = self.ring.consume()
        return taken

    def final_check(self) -> bool:
        """As that of the ring."""
        return bool(self.ring.final_check())

    # -- for faults ----------------------------------------------------------------------------

    def mend(self) -> None:
        """The fault is gone: what it holds is given back, unpublished."""

    @property
    def released(self) -> bool:
        """Whether its device has let go of the ring."""
        try:
            self.true.page.release()
        except ValueError:
            return True
        return False

    @property
    def produced(self) -> int:
        """Our private producer index."""
        return self.req_prod_pvt if self.front else self.rsp_prod_pvt

    def publish(self, index: int) -> None:
        """Write a producer index of ours into the page."""
        with self._words() as words:
            words[(REQ_PROD if self.front else RSP_PROD) // 4] = index & INDEX_MASK

    def waiting(self) -> bool:
        """Whether the peer has published something that was not consumed."""
        with self._words() as words:
            theirs = words[(RSP_PROD if self.front else REQ_PROD) // 4]
        return theirs != (self.rsp_cons if self.front else self.req_cons)

    def want_every_bell(self) -> None:
        """Have the peer ring whenever it publishes something, whatever lies there by now."""
        prod, event = (RSP_PROD, RSP_EVENT) if self.front else (REQ_PROD, REQ_EVENT)
        with self._words() as words:
            words[event // 4] = (words[prod // 4] + 1) & INDEX_MASK

    @contextlib.contextmanager
    def slot(self, index: int) -> Iterator[memoryview]:
        """The bytes of a slot, where they lie.  Raises: ValueError once the ring was released."""
        at = slot_offset(index, self.size, self.true.slot_size)
        with self.true.page as page, page[at : at + self.true.slot_size] as slot:
            yield slot

    @contextlib.contextmanager
    def _words(self) -> Iterator[memoryview]:
        with self.true.page as page, page[:64] as head, head.cast("I") as words:
            yield words


def true_of(ring: Any) -> Any:
    """The ring that a driver made, behind whatever stands before it."""
    return ring.true if isinstance(ring, Half) else ring


def before(
    fault: Fault, seam: str, kind: Callable[[Any, Fault, bool, Callable[[], None]], Half],
    *, front: bool,
) -> Callable[[], None]:  # fmt: skip
    """Put a *kind* of half before every ring at *seam* that *fault* is about; what lifts it."""
    made: list[Half] = []

    def layer(ring: Any, device: Device) -> Any:
        if not fault.is_about(device):
            return ring
        made[:] = [half for half in made if not half.released]
        for half in made:
            if half.true is true_of(ring):  # it stood there: what it holds goes on
                half.ring = ring
                return half
        try:
            made.append(kind(ring, fault, front, lambda: take_out()))
        except ValueError as wrong:
            fault.placed(str(wrong))
            return ring
        return made[-1]

    take_out = fault.domain.seams.insert(seam, layer)

    def lift() -> None:
        for half in made:
            with contextlib.suppress(ValueError):  # the ring is gone
                half.mend()
        take_out()

    return lift
