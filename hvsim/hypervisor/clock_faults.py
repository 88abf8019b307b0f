"""Faults of a domain's clock: it jumps, it drifts.

Seam "clock" of the rules (`faults`): what the time pages of the domain say is changed, and who
sleeps is woken to look.  Pure.
"""

from collections.abc import Callable
from typing import Final

from hvsim.abi.errno import EINVAL
from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.faults import Faults, Standing
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.vcpu_page import tell_time

MAX_JUMP: Final = 30 * 86400.0
MAX_DRIFT: Final = 500_000.0
_SECOND: Final = 1_000_000_000


class ClockFaults:
    """Puts rules of the seam in place."""

    def __init__(self, host: Host, faults: Faults) -> None:
        self._host = host
        self._faults = faults
        self._drifts: dict[bytes, list[Standing]] = {}
        faults.seams["clock"] = self.place

    def place(self, standing: Standing) -> Callable[[], None]:
        """Settings ``clock.jump`` (seconds, with a sign: once, at once) and ``clock.drift`` (ppm:
        until it is lifted, in each life of the domain; of several the youngest rule's)."""
        rule = standing.rule
        jump, drift = rule.settings.get("clock.jump", 0.0), rule.settings.get("clock.drift", 0.0)
        if not _within(jump, MAX_JUMP) or not _within(drift, MAX_DRIFT) or rule.process:
            raise XenError(EINVAL, f"fault: clock jump {jump!r}, drift {drift!r}"[:200])
        domain = self._faults.living(rule.domain)
        if domain is not None and jump:
            domain.time.jump(self._host.now(), int(jump * _SECOND))
            self._tell(domain)
            self._faults.fired(standing, domain.domid, f"d{domain.domid}: clock {jump:+g} s")
        if not drift:
            return lambda: None

        def begin(life: Domain) -> None:
            life.time.drift(self._host.now(), float(drift))
            self._tell(life)
            self._faults.fired(standing, life.domid, f"d{life.domid}: clock drifts {drift:+g} ppm")

        def lift() -> None:
            rules = self._drifts[rule.domain]
            rules.remove(standing)
            left = rules[-1].rule.settings["clock.drift"] if rules else 0.0
            if not rules:
                del self._drifts[rule.domain]
            life = self._faults.living(rule.domain)
            if life is not None:
                life.time.drift(self._host.now(), float(left))
                self._tell(life)

        self._drifts.setdefault(rule.domain, []).append(standing)
        standing.born = begin
        if domain is not None:
            begin(domain)
        return lift

    def _tell(self, domain: Domain) -> None:
        for process in domain.processes.values():
            if process.page is not None and not process.gone:
                tell_time(process.page, domain.time, self._host)
                process.upcall.ring()  # who waits until a time that has come


def _within(value: object, most: float) -> bool:
    return isinstance(value, int | float) and -most <= value <= most
