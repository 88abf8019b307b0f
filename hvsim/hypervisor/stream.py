"""The ledger, published: whoever subscribes to the lab's ``events`` gets each record as it is made.

A subscriber who does not keep up loses records, and the hypervisor never waits for one.
"""

import contextlib
import select
from typing import Final

import zmq

from hvsim.hypervisor.ledger import Record
from hvsim.hypervisor.loop import Loop
from hvsim.wire.endpoints import endpoint
from hvsim.wire.gate import Gate, keep
from hvsim.wire.packing import pack

UNSENT_RECORDS: Final = 8192
"""Records that wait for the end of a round."""


class Stream:
    """Publishes at *address*; raises zmq.ZMQError when that cannot be had."""

    def __init__(self, loop: Loop, address: str) -> None:
        self._records: list[Record] = []
        self._context = zmq.Context()
        self._gate = Gate(self._context)
        self._publisher = self._context.socket(zmq.PUB)
        self._publisher.setsockopt(zmq.LINGER, 0)
        keep(self._publisher)
        try:
            self._publisher.bind(endpoint(address))
        except zmq.ZMQError:
            self.close()
            raise
        loop.watch(self._gate.fd, select.EPOLLIN, lambda _: self._gate.serve())

    def publish(self, record: Record) -> None:
        """Send *record* at the end of this round."""
        if len(self._records) < UNSENT_RECORDS:
            self._records.append(record)

    def flush(self) -> None:
        """Send what was published."""
        if not self._records:
            return
        records, self._records = self._records, []
        for record in records:
            with contextlib.suppress(zmq.Again):
                self._publisher.send(pack(record), zmq.NOBLOCK)

    def close(self) -> None:
        """Send what there is, and let go."""
        self.flush()
        self._publisher.close()
        self._gate.close()
        self._context.term()
