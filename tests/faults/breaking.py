"""Rules in tests, written as a person would, put in force on a real hypervisor."""

from __future__ import annotations

from uuid import UUID

from hvsim.abi.hypercall import (
    HVSIM_DOMCTL_fault_add,
    HVSIM_DOMCTL_fault_list,
    HVSIM_DOMCTL_fault_remove,
    HYPERVISOR_domctl,
)
from hvsim.domain.domain import Domain
from hvsim.domain.start import follow_faults
from hvsim.faults.grammar import parse
from hvsim.faults.rules import Standing, made
from hvsim.wire.fault import Rule
from hvsim.wire.picture import DeviceRow, DomainRow
from hvsim.wire.typed import write
from tests.support.hv import Hypervisor
from tests.support.rows import device_row, domain_row

SEED = 7


class Breaker:
    """Breaks what is between a guest and the domain that serves it.

    Args:
        device: (type, number, name) of the one device of the guest; None without one.
    """

    def __init__(
        self,
        hv: Hypervisor,
        guest: Domain,
        back: Domain,
        device: tuple[str, int, str] | None = None,
    ) -> None:
        self._call = hv.dom0.hypercall.call
        self._hv = hv
        devices = [] if device is None else [_device(device, guest, back)]
        self.domains = [self._row("guest", guest, devices)]
        self.domains.append(self._row("back", back, []))
        for domain in (guest, back):
            follow_faults(domain)

    def enter(self, name: str, guest: Domain, back: Domain, device: tuple[str, int, str]) -> None:
        """One more guest that *back* serves."""
        self.domains.append(self._row(name, guest, [_device(device, guest, back)]))
        follow_faults(guest)

    def rule(self, target: str, *words: str) -> Rule:
        """What a person means by *words*."""
        return made(parse(target, words), self.domains, SEED)

    def add(self, target: str, *words: str) -> int:
        """A rule, in force; its number.  The domains learn of it in their next turn."""
        return self.enter_rule(self.rule(target, *words))

    def enter_rule(self, rule: Rule) -> int:
        """The same, of a rule that was made."""
        raw = write(rule)
        return self._hv.dom0.hypercall.ask(int, HYPERVISOR_domctl, HVSIM_DOMCTL_fault_add, raw)

    def remove(self, number: int) -> None:
        """No more."""
        self._call(HYPERVISOR_domctl, HVSIM_DOMCTL_fault_remove, number)

    def standing(self) -> list[Standing]:
        """Those in force."""
        ask = self._hv.dom0.hypercall.ask
        return ask(list[Standing], HYPERVISOR_domctl, HVSIM_DOMCTL_fault_list, 0)

    def fired(self, number: int) -> list[str]:
        """What the ledger says that a rule did."""
        found = self._hv.ledger("fault.fired")
        return [record["text"] for record in found if record["rule"] == number]

    def clear(self) -> None:
        """No rule stands."""
        for one in self.standing():
            self.remove(one.rule.number)

    def _row(self, name: str, domain: Domain, devices: list[DeviceRow]) -> DomainRow:
        handle = UUID(bytes=self._hv.info(domain.domid)["handle"])
        return domain_row(domain.domid, name, *devices) | {"uuid": str(handle)}


def _device(device: tuple[str, int, str], guest: Domain, back: Domain) -> DeviceRow:
    return device_row(*device, guest.domid, back.domid) | {"backend": "back"}
