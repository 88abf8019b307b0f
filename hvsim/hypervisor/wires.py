"""Turns wires between direct and mediated on a running machine, and carries what is mediated.

A swap loses no notify. Going mediated, the old ``tx`` rings the peer directly until the owner has
fetched the inlet. Going direct, the inlet is carried on until the owner fetches, and the peer is
rung once more then: a domain has one thread, so whatever it rang before its fetch came before, and
a ring without a cause costs a look.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from hvsim.hypervisor.events import Port
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.mediation import AGAIN, Fate

MAX_LATE: Final = 4096
"""Notifies on their way, of all rules; more are delivered at once."""
MAX_LATE_OF_ONE: Final = 256
"""The same of one rule."""
MAX_COPIES: Final = 8
"""How often one notify comes at most, whatever rules it passes."""
HELD_MOST: Final = 100_000_000
"""Nanoseconds after which a notify comes for which no next one has come."""


class Late:
    """A notify on its way from a port to the one that was its peer then."""

    __slots__ = ("_arrived", "_judges", "_peer", "_port")

    def __init__(self, port: Port, peer: Port, judges: "Sequence[Judge]") -> None:
        self._port = port
        self._peer = peer
        self._judges = judges
        self._arrived = False
        for judge in judges:
            judge.late[self] = None

    def arrive(self) -> None:
        """Ring, once."""
        if not self._arrived:
            self._arrived = True
            for judge in self._judges:
                judge.late.pop(self, None)
            # Both ends may have been closed meanwhile, and one of them bound to another.
            if self._port.peer is self._peer:
                self._peer.ring()


class Judge(Protocol):
    """A rule that notifies pass.

    Attributes:
        late: what it has made late, and has not arrived.
        held: what of it waits for the next one.
    """

    late: dict[Late, None]
    held: Late | None

    @property
    def mediates(self) -> bool:
        """Whether notifies are to pass it."""

    def judge(self, port: Port) -> Fate:
        """What becomes of a notify of *port*."""


class Wires:
    """Which notifies are mediated, and what becomes of them.

    Args:
        mediated: whether all are, whatever rules there are.

    Attributes:
        judges: the rules that are about a port.
        ring: lets an event arrive that was carried.
    """

    def __init__(self, host: Host, mediated: bool = False) -> None:
        self._host = host
        self._mediated = mediated
        self._late = 0
        self.judges: Callable[[Port], Sequence[Judge]] = lambda _: ()
        self.ring: Callable[[Port], None] = Port.ring

    def settle(self, port: Port) -> bool:
        """Bring one port in line with the rules that are about it.

        True when its process must fetch. Raises OSError, the port is as before then.
        """
        if port.tx is None:
            return False  # a VIRQ, or nobody to be rung yet
        wanted = self._mediated or any(judge.mediates for judge in self.judges(port))
        if wanted == port.mediated:
            return False
        if wanted and port.inlet is None:
            inlet = self._host.make_doorbell()
            port.inlet = inlet
            self._host.listen(inlet, partial(self._rung, port))
        port.mediated = wanted
        port.delivered = False
        return True

    def fetched(self, port: Port) -> None:
        """The process takes the descriptors in force."""
        port.delivered = True
        if not port.mediated and port.inlet is not None:
            if port.peer is not None:
                port.peer.ring()
            self._close_inlet(port)

    def closing(self, port: Port) -> None:
        """The port is closed: nothing is carried for it any more."""
        port.mediated = False
        if port.inlet is not None:
            self._close_inlet(port)

    def send(self, port: Port) -> None:
        """One notify from *port*, rung through the hypervisor."""
        if port.peer is not None:
            self._carry(port)

    def _close_inlet(self, port: Port) -> None:
        assert port.inlet is not None
        self._host.unlisten(port.inlet)
        port.inlet.close()
        port.inlet = None

    def _rung(self, port: Port) -> None:
        if port.inlet is not None:
            self._carry(port)

    def _carry(self, port: Port) -> None:
        """Let the rules judge one notify, all of them together."""
        peer = port.peer
        if peer is None:
            return
        judges = self.judges(port)
        if not judges:
            self.ring(peer)
            return
        lost, late, copies = False, 0, 1
        made_late: list[Judge] = []
        before: list[Late] = []
        holder: Judge | None = None
        for judge in judges:
            fate = judge.judge(port)
            if judge.held is not None:
                before.append(judge.held)
                judge.held = None
            elif fate.held:
                holder = judge
            lost = lost or fate.lost
            copies += fate.twice
            late += fate.late
            if fate.late or fate.twice:
                made_late.append(judge)
        if not lost:
            if holder is not None:
                holder.held = self._later(port, peer, late + HELD_MOST, [holder])
            if holder is None or holder.held is None:
                self._deliver(port, peer, late, made_late)
            for number in range(1, min(copies, MAX_COPIES)):
                self._deliver(port, peer, late + number * AGAIN, made_late)
        for held in before:
            if late:
                self._host.call_later(late, held.arrive)
            else:
                held.arrive()

    def _deliver(self, port: Port, peer: Port, late: int, judges: list[Judge]) -> None:
        if not late or self._later(port, peer, late, judges) is None:
            self.ring(peer)

    def _later(self, port: Port, peer: Port, late: int, judges: list[Judge]) -> Late | None:
        """Deliver it then, or sooner when the rules that made it late are lifted; None when too
        many are on their way."""
        full = any(len(judge.late) >= MAX_LATE_OF_ONE for judge in judges)
        if full or self._late >= MAX_LATE:
            return None
        notify = Late(port, peer, judges)
        self._late += 1
        self._host.call_later(late, partial(self._due, notify))
        return notify

    def _due(self, notify: Late) -> None:
        self._late -= 1
        notify.arrive()
