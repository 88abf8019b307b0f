"""What the store reports to the hypervisor: the ledger has it, and ``xl dmesg``.

Quotas that bite (kind ``store.quota``), and steps that break the rules of a handshake (kind
``store.handshake``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.abi.errno import ESRCH
from hvsim.abi.hypercall import HVSIM_OP_note, HYPERVISOR_hvsim_op
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.xenstore.handshake.hooks import Handshakes
from hvsim.xenstore.rules.quota import Limits
from hvsim.xenstore.rules.reports import Reports, sentence
from hvsim.xenstore.rules.store import Store

QUOTA: Final = "store.quota"
HANDSHAKE: Final = "store.handshake"


class QuotaReports:
    """``Store.on_limit`` of the daemon.

    Args:
        log: where a line goes that the hypervisor did not take.
    """

    def __init__(self, dom: Domain, limits: Callable[[], Limits]) -> None:
        self._dom = dom
        self._limits = limits
        self._reports = Reports(dom.vcpu.now)

    def __call__(self, name: str, domid: int, what: str) -> None:
        """Limit *name* of *domid* bit; *what* was refused or left undone."""
        left_out = self._reports.allow(domid, name)
        if left_out is None:
            return
        text = sentence(self._limits(), name, domid, what, left_out)
        try:
            self._dom.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, QUOTA, domid, text)
        except HypercallError as error:
            if error.errno != ESRCH:
                self._dom.log(f"xenstored: {text} (ledger: {error})")

    def forget(self, domid: int) -> None:
        """The domain has gone."""
        self._reports.forget(domid)


def watch_handshakes(dom: Domain, store: Store, mode: str) -> Handshakes:
    """Put a monitor on the *store* of the daemon *dom*; *mode* is "record" or "strict".

    Breaches go to the hypervisor's ledger (and so to ``hvsim events`` and ``xl dmesg``) as
    ``store.handshake``.
    """

    def report(domid: int, text: str) -> None:
        try:
            dom.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, HANDSHAKE, domid, text)
        except HypercallError as error:
            dom.log(f"xenstored: {text} (not in the ledger: {error})")

    return Handshakes(store, dom.vcpu.now, mode == "strict", report)
