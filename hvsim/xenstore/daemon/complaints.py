"""Says by name when a limit bites: in the ledger (kind ``store.quota``) and in ``xl dmesg``.

Users of Xen see only "connection failed" or ENOSPC somewhere in a driver.  Here the line names the
domain, the limit, its value, the request and the remedy.  One domain cannot flood the ledger: each
(domain, limit) has a rate, and the next line says how many were left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hvsim.abi.errno import ESRCH
from hvsim.abi.hypercall import HVSIM_OP_note, HYPERVISOR_hvsim_op
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.xenstore.rules.fairness import Reports
from hvsim.xenstore.rules.quota import Limits

KIND: Final = "store.quota"


def sentence(limits: Limits, name: str, domid: int, what: str, left_out: int = 0) -> str:
    """The line for a limit: a quota of ``control quota``, or one of the daemon's own bounds."""
    try:
        value = limits.value(name)
    except KeyError:
        text = f"d{domid}: store limit '{name}': {what}"
    else:
        text = (
            f"d{domid}: store quota '{name}' ({value}) reached: {what}. "
            f"Remedy: {name} = ... under [store.quota] in the lab file, "
            f"or at once: hvsim xenstore control quota set {name} N"
        )
    return f"{text} ({left_out} more like it were not reported)" if left_out else text


class Complaints:
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
            self._dom.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_note, KIND, domid, text)
        except HypercallError as error:
            if error.errno != ESRCH:
                self._dom.log(f"xenstored: {text} (ledger: {error})")

    def forget(self, domid: int) -> None:
        """The domain has gone."""
        self._reports.forget(domid)
