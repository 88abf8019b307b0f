"""A frontend that forgets: what was unanswered when its backend died is not done at the next one.

The classic mistake of a blkfront's recovery.  Each write that is issued again becomes a flush on
its way, and the answer that of the write: the guest is told that it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from hvsim.abi.blkif import (
    BLKIF_OP_FLUSH_DISKCACHE,
    BLKIF_OP_INDIRECT,
    BLKIF_OP_WRITE,
    BLKIF_RSP_OKAY,
    RESPONSE,
)
from hvsim.faults.inject.half import Half, before

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.injection import Fault

_ID: Final = slice(8, 16)
"""Where a request (direct or indirect) has its id."""
_ID_OF_ANSWER: Final = slice(0, 8)


class _Memory:
    """Of one rule in one domain: the requests that are out, over the lives of its backends."""

    unanswered = 0


_MEMORIES: WeakKeyDictionary[Domain, dict[int, _Memory]] = WeakKeyDictionary()
"""By the number of the rule: a rule is put in place anew when the other end has another life."""


def stand(fault: Fault, seam: str) -> Callable[[], None]:
    """Put *fault* before the frontend's ring of its disk.  Raises: ValueError."""
    if fault.settings.get("type") != "vbd":
        raise ValueError("ring=forget: of a vbd")
    memory = _MEMORIES.setdefault(fault.domain, {}).setdefault(fault.number, _Memory())
    return before(fault, seam, partial(Forget, memory), front=True)


class Forget(Half):
    """Lets what is issued again come to nothing."""

    def __init__(
        self, memory: _Memory, ring: Any, fault: Fault, front: bool, restore: Callable[[], None]
    ) -> None:
        super().__init__(ring, fault, front, restore)
        self._memory: Final = memory
        fresh = not self.req_prod_pvt
        self._again = memory.unanswered if fresh else 0
        memory.unanswered = self.req_prod_pvt - self.rsp_cons
        self._forgotten: dict[bytes, int] = {}

    def produce(self, data: bytes) -> None:
        """As that of the ring, or a flush."""
        self._memory.unanswered += 1
        if self._again:
            self._again -= 1
            if _writes(data) and self.fault.fires():
                self._forgotten[data[_ID]] = data[0]
                data = _flush(data)
                self.fault.told(f"{len(self._forgotten)} unanswered writes forgotten")
        self.ring.produce(data)

    def consume(self) -> bytes | None:
        """As that of the ring."""
        taken: bytes | None = self.ring.consume()
        if taken is None:
            return None
        self._memory.unanswered -= 1
        operation = self._forgotten.pop(taken[_ID_OF_ANSWER], None)
        if operation is None:
            return taken
        number = int.from_bytes(taken[_ID_OF_ANSWER], "little")
        answer = RESPONSE.pack(number, operation, BLKIF_RSP_OKAY)
        return answer + taken[len(answer) :]


def _writes(data: bytes) -> bool:
    operation = data[1] if data[0] == BLKIF_OP_INDIRECT else data[0]
    return operation == BLKIF_OP_WRITE


def _flush(data: bytes) -> bytes:
    """A flush with the id of that request."""
    empty = bytes([BLKIF_OP_FLUSH_DISKCACHE]) + bytes(7) + data[_ID]
    return empty.ljust(len(data), b"\0")
