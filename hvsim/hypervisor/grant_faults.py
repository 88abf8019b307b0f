"""Faults of grants: a map or a copy fails, an unmapped page stays mapped, a grant is taken away.

Seam "grant" of the rules (`faults`).  A rule is about what its domain maps of its peer's pages, and
the other way as well when it is about both.  `BrokenTransfers` stands in the place of the machine's
transfers while there is a rule, and only then.  Pure.
"""

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final, Protocol

from hvsim.abi import grant_table as abi
from hvsim.abi.errno import EINVAL, ENOSPC
from hvsim.abi.grant_table import GNTST_bad_gntref, GNTST_okay
from hvsim.abi.hypercall import DOMID_SELF
from hvsim.hypervisor.clock import dice
from hvsim.hypervisor.domains import Domain, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.faults import Faults, Standing
from hvsim.hypervisor.grants import Mapping
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.memory import Extent
from hvsim.hypervisor.transfer import Transfers
from hvsim.hypervisor.work import Job, Work, pieces
from hvsim.wire.fault import Trigger

ACTIONS: Final = ("fail-map", "fail-copy", "hold", "revoke")
STATUSES: Final = {
    name: int(getattr(abi, f"GNTST_{name}"))
    for name in (
        "general_error",
        "bad_domain",
        "bad_gntref",
        "bad_page",
        "permission_denied",
        "no_device_space",
        "no_space",
    )
}
MAX_KEPT: Final = 4096
"""Mappings that one rule holds, and grants that it has taken away; more are left alone."""
MAX_BETWEEN: Final = 16
"""Rules about what one domain maps of another: each map, copy and unmap passes them all."""


class Seat(Protocol):
    """Where the transfers of a machine are taken from."""

    transfers: Transfers

    @property
    def ledger(self) -> Ledger:
        """Where each step is written down."""

    @property
    def work(self) -> Work:
        """Where long work goes on."""

    @property
    def faults(self) -> Faults:
        """The rules."""

    @property
    def domains(self) -> dict[int, Domain]:
        """Those that there are."""


class GrantFaults:
    """Puts rules of the seam in place.

    Args:
        sound: the transfers of a machine without rules.
        released: as `Transfers` wants it.
    """

    def __init__(
        self, seat: Seat, sound: Transfers, released: Callable[[Domain, Extent], None]
    ) -> None:
        self._seat = seat
        self._sound = sound
        self._broken = BrokenTransfers(seat, released)
        seat.faults.seams["grant"] = self.place

    def place(self, standing: Standing) -> Callable[[], None]:
        """Settings ``grant`` (`ACTIONS`), ``status`` (`STATUSES`)."""
        settings = standing.rule.settings
        action, status = settings.get("grant"), settings.get("status", "general_error")
        if action not in ACTIONS or status not in STATUSES or standing.rule.peer is None:
            raise XenError(EINVAL, f"fault: grant {action!r}, status {status!r}"[:200])
        rule = GrantRule(self._seat.faults, standing, str(action), STATUSES[status])
        rules = self._broken.rules
        if any(len(rules.get(way, ())) >= MAX_BETWEEN for way in rule.ways):
            raise XenError(ENOSPC, f"fault: {MAX_BETWEEN} rules of grants between two domains")
        for way in rule.ways:
            rules.setdefault(way, []).append(rule)
        self._seat.transfers = self._broken
        return partial(self._lift, rule)

    def _lift(self, rule: "GrantRule") -> None:
        rules = self._broken.rules
        for way in rule.ways:
            rules[way].remove(rule)
            if not rules[way]:
                del rules[way]
        if not rules:
            self._seat.transfers = self._sound
        self._seat.work.start(self._broken.end_held(rule))


Way = tuple[bytes, bytes]
"""Handles of who maps, and whose pages."""


class GrantRule:
    """One rule.

    Attributes:
        ways: what it is about, each with the name of the process that maps, "" for any.
        held: mappings whose end was acknowledged and has not come, each with its process.
        revoked: what was taken away: (owner's domid, reference) -> frame.
    """

    def __init__(self, faults: Faults, standing: Standing, action: str, status: int) -> None:
        self.action: Final = action
        self.status: Final = status
        self.held: dict[Mapping, int] = {}
        self.revoked: dict[tuple[int, int], int | None] = {}
        self._faults = faults
        self._standing = standing
        rule = standing.rule
        peer = rule.peer or bytes(16)
        self.ways: dict[Way, str] = {(rule.domain, peer): rule.process}
        if rule.both:
            self.ways[peer, rule.domain] = rule.peer_process
        self._trigger = Trigger(rule.when, dice(rule.seed).random)

    def fires(self) -> bool:
        """Whether it does, on the next event."""
        return self._trigger.fires()

    def told(self, process: Process, text: str) -> None:
        """It has."""
        self._faults.fired(self._standing, process.domid, f"d{process.domid} {text}")


class BrokenTransfers(Transfers):
    """Transfers that rules look at first.

    Attributes:
        rules: those in force, by whom they are about.
    """

    def __init__(self, seat: Seat, released: Callable[[Domain, Extent], None]) -> None:
        super().__init__(seat.domains, seat.ledger, released)
        self.rules: dict[Way, list[GrantRule]] = {}
        self._held: dict[int, dict[Mapping, GrantRule]] = {}

    def map_one(
        self, process: Process, flags: int, ref: int, domid: int, new: list[Extent]
    ) -> list[int]:
        """As `Transfers.map_one`."""
        owner = self._other(process, domid)
        rules = self._about(process, owner) if owner is not None else []
        what = f"maps ref {ref:#x} of d{domid}"
        for rule in rules:
            if rule.action == "fail-map" and rule.fires():
                rule.told(process, f"{what}: status {rule.status}")
                return [rule.status, 0, 0, 0]
        if owner is not None and self._is_revoked(rules, owner, ref):
            self._refused(process, what)
            return [GNTST_bad_gntref, 0, 0, 0]
        row = super().map_one(process, flags, ref, domid, new)
        if row[0] == GNTST_okay and owner is not None:
            self._revoke(rules, process, owner, ref)
        return row

    def copy_one(self, process: Process, op: list[Any]) -> int:
        """As `Transfers.copy_one`."""
        ends = [(op[0], op[2]) if op[1] else None, (op[4], op[6]) if op[5] else None]
        used: list[tuple[list[GrantRule], Domain, int]] = []
        for domid, ref in filter(None, ends):
            owner = self._other(process, domid)
            if owner is None:
                continue
            rules = self._about(process, owner)
            what = f"copies ref {ref:#x} of d{domid}"
            for rule in rules:
                if rule.action == "fail-copy" and rule.fires():
                    rule.told(process, f"{what}: status {rule.status}")
                    return rule.status
            if self._is_revoked(rules, owner, ref):
                self._refused(process, what)
                return GNTST_bad_gntref
            used.append((rules, owner, ref))
        status = super().copy_one(process, op)
        if status == GNTST_okay:
            for rules, owner, ref in used:
                self._revoke(rules, process, owner, ref)
        return status

    def unmap_one(self, process: Process, handle: int) -> int:
        """As `Transfers.unmap_one`."""
        mapping = process.domain.maptrack.mappings.get(handle)
        if mapping is not None and mapping.token == process.token:
            for rule in self._about(process, self._domains[mapping.owner]):
                if rule.action == "hold" and len(rule.held) < MAX_KEPT and rule.fires():
                    rule.told(process, f"keeps ref {mapping.ref:#x} of d{mapping.owner} mapped")
                    self._let_go(process, mapping)
                    rule.held[mapping] = process.token
                    self._held.setdefault(process.token, {})[mapping] = rule
                    return GNTST_okay
        return super().unmap_one(process, handle)

    def release_process(self, process: Process) -> Generator[None, None, int]:
        """As `Transfers.release_process`: what was held goes with the process."""
        for pause, piece in pieces(list(self._held.get(process.token, {}).items())):
            if pause:
                yield
            for mapping, rule in piece:
                self._end_held(rule, mapping)
        return (yield from super().release_process(process))

    def end_held(self, rule: GrantRule) -> Job:
        """The end of what a rule holds.  A job (``work``)."""
        for pause, mappings in pieces(list(rule.held)):
            if pause:
                yield
            for mapping in mappings:
                self._end_held(rule, mapping)

    def _end_held(self, rule: GrantRule, mapping: Mapping) -> None:
        token = rule.held.pop(mapping, None)
        if token is None:
            return
        held = self._held[token]
        del held[mapping]
        if not held:
            del self._held[token]
        self._unpin(mapping)

    def _about(self, process: Process, owner: Domain) -> list[GrantRule]:
        """The rules about what a process does with a domain's pages."""
        way = process.domain.handle, owner.handle
        rules = self.rules.get(way, ())
        return [rule for rule in rules if rule.ways[way] in ("", process.name)]

    def _other(self, process: Process, domid: int) -> Domain | None:
        return process.domain if domid == DOMID_SELF else self._domains.get(domid)

    def _refused(self, process: Process, what: str) -> None:
        text = f"d{process.domid} {what}: it was taken away"
        self._ledger.refuse("grant.refused", process.domid, text, status=GNTST_bad_gntref)

    @staticmethod
    def _revoke(rules: list[GrantRule], process: Process, owner: Domain, ref: int) -> None:
        """Take a grant away that was used just now, where a rule says so."""
        for rule in rules:
            if rule.action == "revoke" and len(rule.revoked) < MAX_KEPT and rule.fires():
                rule.revoked[owner.domid, ref] = owner.grants.frame(ref)
                rule.told(process, f"loses ref {ref:#x} of d{owner.domid}")

    @staticmethod
    def _is_revoked(rules: list[GrantRule], owner: Domain, ref: int) -> bool:
        """Whether the very grant was: the same reference to another frame is another grant."""
        for rule in rules:
            frame = rule.revoked.get((owner.domid, ref))
            if frame is not None:
                if frame == owner.grants.frame(ref):
                    return True
                del rule.revoked[owner.domid, ref]
        return False
