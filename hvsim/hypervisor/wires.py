"""Turns wires between direct and mediated on a running machine, and carries what is mediated.

A swap loses no notify. Going mediated, the old ``tx`` rings the peer directly until the owner has
fetched the inlet. Going direct, the inlet is carried on until the owner fetches, and the peer is
rung once more then: a domain has one thread, so whatever it rang before its fetch came before, and
a ring without a cause costs a look.
"""

from functools import partial
from typing import Final

from hvsim.hypervisor.events import Port
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.mediation import PASS, Policy

MAX_LATE: Final = 4096
"""Delayed notifies on their way; more are delivered at once."""
EVERYONE: Final = -1


class Wires:
    """Which domains' notifies are mediated, and by what policy."""

    def __init__(self, host: Host, ledger: Ledger, mediated: bool = False) -> None:
        self._host = host
        self._ledger = ledger
        self._policies: dict[int, Policy | None] = {EVERYONE: PASS if mediated else None}
        self._late = 0

    def policy(self, domid: int) -> Policy | None:
        """The policy for what a domain sends; None for direct."""
        policies = self._policies
        return policies[domid] if domid in policies else policies[EVERYONE]

    def set_policy(self, domid: int, policy: Policy | None) -> None:
        """Decide for one domain, or (EVERYONE) for all, whatever was said about one before."""
        if domid == EVERYONE:
            self._policies.clear()
        self._policies[domid] = policy

    def forget(self, domid: int) -> None:
        """A domain is no more."""
        if domid != EVERYONE:
            self._policies.pop(domid, None)

    def settle(self, port: Port) -> bool:
        """Bring one port in line with the policy of its domain.

        True when its process must fetch. Raises OSError, the port is as before then.
        """
        if port.tx is None:
            return False  # a VIRQ, or nobody to be rung yet
        wanted = self.policy(port.domid) is not None
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
        """Apply the policy to one notify."""
        peer = port.peer
        if peer is None:
            return
        policy = self.policy(port.domid)
        if policy is None or policy is PASS:
            peer.ring()
            return
        delays = policy.decide(self._host.random)
        if not delays:
            self._note("event.dropped", port, "dropped")
        for number, delay in enumerate(delays):
            if number:
                self._note("event.duplicated", port, "duplicated")
            if delay and self._late < MAX_LATE:
                self._note("event.delayed", port, f"delayed by {delay // 1000} us")
                self._late += 1
                self._host.call_later(delay, partial(self._deliver_late, port, peer))
            else:
                peer.ring()

    def _deliver_late(self, port: Port, peer: Port) -> None:
        self._late -= 1
        # Both ends may have been closed meanwhile, and one of them bound to another.
        if port.peer is peer:
            peer.ring()

    def _note(self, kind: str, port: Port, what: str) -> None:
        self._ledger.refuse(
            kind, port.domid, f"d{port.domid} port {port.number} -> d{port.remote}: {what}"
        )
