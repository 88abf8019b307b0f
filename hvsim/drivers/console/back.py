"""The back half of one console, from its ring to its pty.

A guest that floods its console is slowed: output is taken at a bounded rate, and nothing that waits
grows.  Source: tools/console/daemon/io.c.
"""

from typing import Final

from hvsim.abi.console import OUT_SIZE
from hvsim.abi.grant_table import GNTTAB_RESERVED_CONSOLE
from hvsim.domain.domain import Domain
from hvsim.domain.timers import Timer
from hvsim.drivers.console.log import ConsoleLog
from hvsim.drivers.console.ring import ConsoleBackRing
from hvsim.drivers.console.terminal import Terminal
from hvsim.errors import BrokenByPeer

PERIOD: Final = 0.2
ALLOWANCE: Final = 256 * 1024
"""Bytes of output that are taken from one domain in PERIOD seconds."""
DRAIN_MAX: Final = 2 * OUT_SIZE
"""Bytes that are taken from a domain that has stopped; no more can be in its ring."""


class ConsoleBack:
    """The console of one domain, from its ring to its pty.

    Attributes:
        port: the domain's.

    Raises: GrantError, HypercallError, OSError when it cannot be had.
    """

    def __init__(self, dom: Domain, domid: int, port: int, log: ConsoleLog) -> None:
        self._dom = dom
        self.domid = domid
        self.port = port
        self.log = log
        self.broken = False
        self._taken = 0
        self._period_end = 0.0
        self._pause: Timer | None = None
        self._mapping = dom.mapper.map(domid, GNTTAB_RESERVED_CONSOLE)
        self._ring = ConsoleBackRing(self._mapping.view)
        try:
            self.terminal = Terminal(dom.vcpu, self._input)
            try:
                self._port = dom.events.bind_interdomain(domid, port, self._event)
            except BaseException:
                self.terminal.close()
                raise
        except BaseException:
            self._ring.release()
            self._mapping.unmap()
            raise

    def close(self) -> None:
        """Take the last output, then let go of everything."""
        self._drain()
        if self._pause is not None:
            self._pause.cancel()
        self._dom.events.close(self._port)
        self.terminal.close()
        self._ring.release()
        self._mapping.unmap()
        self.log.close()

    def _event(self) -> None:
        self.terminal.listen(True)
        self._input()
        self._output()

    def _output(self) -> None:
        """Take output, so much as the domain may have in this period."""
        if self.broken or (self._pause is not None and self._pause.active):
            return
        now = self._dom.vcpu.now()
        if now >= self._period_end:
            self._period_end, self._taken = now + PERIOD, 0
        moved = False
        while not self.broken:
            data = self._take(min(OUT_SIZE, ALLOWANCE - self._taken))
            if not data:
                break
            moved = True
            self._taken += len(data)
        if self._taken >= ALLOWANCE:
            self._pause = self._dom.vcpu.call_later(self._period_end - now, self._output)
        if moved:
            self._dom.events.notify(self._port)

    def _take(self, limit: int) -> bytes:
        try:
            data = self._ring.take(limit)
        except BrokenByPeer as wrong:
            self._broken(wrong)
            return b""
        if data:
            self.log.write(data)
            self.terminal.write(data)
        return data

    def _drain(self) -> None:
        left = DRAIN_MAX
        while left > 0 and not self.broken:
            data = self._take(left)
            if not data:
                return
            left -= len(data)

    def _input(self) -> None:
        if self.broken:
            return
        try:
            room = self._ring.room
            data = self.terminal.read(room)
            self._ring.put(data)
        except BrokenByPeer as wrong:
            self._broken(wrong)
            return
        if not room:
            self.terminal.listen(False)  # the guest's event, when it has read, listens again
        if data:
            self._dom.events.notify(self._port)

    def _broken(self, wrong: BrokenByPeer) -> None:
        self.broken = True
        self.terminal.listen(False)
        self._dom.log(f"console of domain {self.domid}: {wrong}; it is not served any more")
