"""The hypervisor's ledger, published: each record from now on.

The hypervisor says when there is news, and the news is asked for.  A subscriber that does not keep
up loses records; their numbers tell.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Final

import zmq

from hvsim.abi.domctl import XEN_SYSCTL_physinfo
from hvsim.abi.hypercall import (
    HVSIM_SYSCTL_ledger,
    HVSIM_SYSCTL_ledger_news,
    HYPERVISOR_sysctl,
)
from hvsim.domain import Domain
from hvsim.wire.answers import MachineInfo
from hvsim.wire.packing import pack
from hvsim.wire.typed import read

BATCH: Final = 1000
"""Records asked for at once."""
_TAG: Final = 1


class Records:
    """Publishes them."""

    def __init__(self, dom: Domain, publisher: zmq.Socket[bytes]) -> None:
        self._dom = dom
        self._call = dom.hypercall
        self._publisher = publisher
        self._last = 0

    def start(self) -> None:
        """Begin with the record that comes next.  Raises: HypercallError."""
        info = self._call.ask(MachineInfo, HYPERVISOR_sysctl, XEN_SYSCTL_physinfo)
        self._last = info["ledger_seq"]
        self._call.on_late = self._news
        # A copy, as the vCPU listens at the connection itself for its end.
        self._dom.vcpu.add_fd(os.dup(self._call.fileno()), self._call.take_late)
        self._ask()

    def _news(self, _tag: int, _reply: Sequence[object]) -> None:
        # In a handler of its own: this may come in the middle of another call.
        self._dom.vcpu.call_later(0.0, self._ask)

    def _ask(self) -> None:
        """Publish what there is, until there is no more; then wait for news."""
        while True:
            ask = (HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger, self._last, BATCH)
            while records := self._call.ask(list[dict[str, object]], *ask):
                for record in records:
                    with contextlib.suppress(zmq.Again):
                        self._publisher.send(pack(record), zmq.NOBLOCK)
                self._last = read(int, records[-1]["seq"])
                ask = (*ask[:2], self._last, BATCH)
            news = (HYPERVISOR_sysctl, HVSIM_SYSCTL_ledger_news, self._last)
            if self._call.begin(_TAG, *news) is None:
                return
