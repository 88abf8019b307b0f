"""Rules of faults that act in this process: put in place, followed, taken out.

The hypervisor keeps the rules and rings the upcall when they change; what a rule does is done by a
function that it names (``by``), which stands something at a `seams` of the domain.  Loaded when
there is a first rule: a process without pays nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from hvsim.abi.errno import ENOSPC
from hvsim.abi.hypercall import (
    HVSIM_OP_fault_cover,
    HVSIM_OP_fault_fired,
    HVSIM_OP_faults,
    HYPERVISOR_hvsim_op,
)
from hvsim.domain import dice as dices
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.loading import ProgramError, load_program
from hvsim.wire.fault import Rule, Trigger

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.xenbus.device import Device

WHY_MAX: Final = 180
"""Letters of why a rule cannot be put in place."""


class Fault:
    """One rule, as its injector has it.

    Attributes:
        domain: in which it acts.
        settings: what exactly it does.
        dice: seeded by the rule: all that it draws is drawn from there.
        hindered: whether it was told last why the rule does not stand.
    """

    def __init__(self, domain: Domain, rule: Rule) -> None:
        self.domain: Final = domain
        self.settings: Final[dict[str, Any]] = rule.settings
        self.dice: Final = dices.seeded(rule.seed + rule.fired)
        self.hindered = False
        self._rule = rule
        self._trigger = Trigger(rule.when, self.dice.random, rule.fired)

    @property
    def number(self) -> int:
        """The rule's."""
        return self._rule.number

    @property
    def spent(self) -> bool:
        """Whether it will never fire again."""
        return self._trigger.spent

    def fires(self, would: bool = True) -> bool:
        """Whether it does, on the next of the events that it looks at; one on which nothing *would*
        happen is counted among them."""
        return self._trigger.fires(would)

    def told(self, text: str) -> None:
        """Have the ledger say what it did just now."""
        with contextlib.suppress(HypercallError):  # taken away in this very moment
            number = self._rule.number
            self.domain.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_fault_fired, number, text)

    def is_about(self, device: Device) -> bool:
        """Whether it is about *device*: of its type, its number and its other end, where the rule
        names them."""
        rule, settings = self._rule, self.settings
        if rule.peer_domid != -1 and device.otherend_id != rule.peer_domid:
            return False
        if settings.get("type", device.devicetype) != device.devicetype:
            return False
        number = device.nodename.rpartition("/")[2]
        return str(settings.get("devid", number)) == number

    def covers(self, port: int) -> None:
        """Tell the hypervisor, which is to break its events, that it is about *port*, until that is
        closed."""
        self._placed("", [port])

    def placed(self, why_not: str = "") -> None:
        """Tell the hypervisor that the rule stands, or why it does not."""
        self._placed(why_not, [])

    def _placed(self, why_not: str, ports: list[int]) -> None:
        self.hindered = bool(why_not)
        args = self._rule.number, not why_not, why_not[:WHY_MAX], ports
        try:
            self.domain.hypercall.call(HYPERVISOR_hvsim_op, HVSIM_OP_fault_cover, *args)
        except HypercallError as refusal:
            if refusal.errno == ENOSPC:
                self.placed(f"too many rules, or ports of one rule: {ports} are left out")
            # else it was taken away in this very moment


Injector = Callable[[Fault], Callable[[], None]]
"""What ``by`` names: puts a fault in place, and returns what takes it out.  Raises ValueError for
settings that make no sense in this domain; the rule says so then."""


class Injection:
    """The rules that stand in one process."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._standing: dict[int, tuple[int, Callable[[], None]]] = {}

    def refresh(self) -> None:
        """Put in place what has come, and take out what has gone."""
        wanted = {rule.number: rule for rule in self._ask()}
        for number, (peer, lift) in list(self._standing.items()):
            now = wanted.get(number)
            if now is None or now.peer_domid != peer:  # the other end is in another life
                del self._standing[number]
                self._take_out(number, lift)
            else:
                del wanted[number]
        for rule in wanted.values():
            lift_or_none = self._place(rule)
            if lift_or_none is not None:
                self._standing[rule.number] = rule.peer_domid, lift_or_none

    def _place(self, rule: Rule) -> Callable[[], None] | None:
        fault = Fault(self._domain, rule)
        try:
            lift = cast("Injector", load_program(rule.by))(fault)
        except (ProgramError, ValueError) as wrong:
            fault.placed(str(wrong) or type(wrong).__name__)
        except Exception as bug:  # of a function of somebody's own: the domain is not to die of it
            fault.placed(f"{type(bug).__name__}: {bug}")
        else:
            if not fault.hindered:  # at a device that is there it may have said at once why not
                fault.placed()
            return lift
        return None

    def _take_out(self, number: int, lift: Callable[[], None]) -> None:
        try:
            lift()
        except Exception as bug:  # as above
            self._domain.log(f"rule {number} could not be taken out: {type(bug).__name__}: {bug}")

    def _ask(self) -> list[Rule]:
        ask = self._domain.hypercall.ask
        found: list[Rule] = []
        while True:
            after = found[-1].number if found else 0
            rules = ask(list[Rule], HYPERVISOR_hvsim_op, HVSIM_OP_faults, after)
            if not rules:
                return found
            found += rules
