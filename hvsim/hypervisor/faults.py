"""The rules of faults that are in force: numbered, handed to who is to follow them, removable.

Pure.  What a rule means is its injector's business: here it has a number, a place to act in and a
count.  The hypervisor's own injectors are in `seams`, by the name of what they break.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hvsim.abi.errno import E2BIG, EINVAL, ENOENT, ENOSPC
from hvsim.hypervisor.domains import Domain, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.ratelimit import RateLimit
from hvsim.wire.fault import Rule
from hvsim.wire.packing import pack
from hvsim.wire.typed import changed, write

MAX_RULES: Final = 256
RULE_MAX: Final = 4096
"""Bytes of a rule, packed."""
TEXT_MAX: Final = 200
"""Letters of what an injector tells of one firing."""
LINES_BURST: Final = 64
LINES_PER_SECOND: Final = 100.0
"""Ledger lines of one rule; what fires more often is counted."""

Domains = dict[int, Domain]


@dataclass(eq=False)
class Standing:
    """A rule in force.

    Attributes:
        since: nanoseconds, when it was added.
        fired: how often it has fired.
        last: what the last firing did.
        cover: event channel ports that it is about, as their domain has said; (domid, port).
        trouble: why it could not be put in place, "" otherwise.
        lift: takes away what a seam of ours has put in place.
        born: called with each new domain of the rule's handle.
    """

    rule: Rule
    since: int
    limit: RateLimit = field(default_factory=lambda: RateLimit(LINES_BURST, LINES_PER_SECOND))
    fired: int = 0
    last: str = ""
    trouble: str = ""
    cover: set[tuple[int, int]] = field(default_factory=set)
    lift: Callable[[], None] | None = None
    born: Callable[[Domain], None] | None = None


class Faults:
    """The rules of a machine.

    Attributes:
        seams: what the hypervisor itself breaks: name -> puts a rule in place, and returns what
            takes it away; raises XenError(EINVAL) for settings that make no sense.
    """

    def __init__(self, host: Host, ledger: Ledger, domains: Domains) -> None:
        self._host = host
        self._ledger = ledger
        self._domains = domains
        self._standing: dict[int, Standing] = {}
        self._next = 1
        self.seams: dict[str, Callable[[Standing], Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._standing)

    def standing(self) -> list[Standing]:
        """Those in force, in the order they were added."""
        return list(self._standing.values())

    def add(self, rule: Rule) -> Standing:
        """Put a rule in force; it gets its number.

        Raises: XenError: EINVAL, E2BIG, ENOSPC.
        """
        if len(rule.domain) != 16 or (rule.peer is not None and len(rule.peer) != 16):
            raise XenError(EINVAL, "fault: a domain's handle has 16 bytes")
        if rule.seam and rule.seam not in self.seams:
            raise XenError(EINVAL, f"fault: the hypervisor has no seam {rule.seam!r}"[:TEXT_MAX])
        if not rule.seam and not rule.by:
            raise XenError(EINVAL, "fault: nobody is named who puts it in place")
        if len(pack(write(rule))) > RULE_MAX:
            raise XenError(E2BIG, f"fault: a rule has {RULE_MAX} bytes at most")
        if len(self._standing) >= MAX_RULES:
            raise XenError(ENOSPC, f"fault: {MAX_RULES} rules is the limit")
        number = self._next
        standing = Standing(changed(rule, number=number, fired=0), self._host.now())
        if rule.seam:
            standing.lift = self.seams[rule.seam](standing)
        self._next += 1
        self._standing[number] = standing
        self._ledger.record("fault.added", self._domid(rule), f"{number}: {rule.text}", rule=number)
        self._tell(rule)
        if rule.seconds:
            self._host.call_later(int(rule.seconds * 1e9), lambda: self._expire(standing))
        return standing

    def remove(self, number: int) -> Rule:
        """Take a rule away.  Raises: XenError(ENOENT)."""
        standing = self._standing.pop(number, None)
        if standing is None:
            raise XenError(ENOENT, f"fault: there is no rule {number}")
        if standing.lift is not None:
            standing.lift()
        rule = standing.rule
        text = f"{number}: {rule.text}; it fired {standing.fired} times"
        self._ledger.record("fault.removed", self._domid(rule), text, rule=number)
        self._tell(rule)
        return rule

    def fired(self, standing: Standing, domid: int, text: str) -> None:
        """It has, and did *text*."""
        standing.fired += 1
        standing.last = text[:TEXT_MAX]
        self._ledger.counters["fault.fired"] += 1
        if standing.limit.allow(self._host.now()):
            more: dict[str, int] = {"rule": standing.rule.number}
            suppressed = standing.limit.take_suppressed()
            if suppressed:
                more["suppressed"] = suppressed
            self._ledger.enter("fault.fired", domid, standing.last, **more)

    # -- of a process ------------------------------------------------------------------------

    def of(self, process: Process) -> list[Rule]:
        """What a process is to put in place itself, the other ends by their numbers of now."""
        found = []
        for standing in self._standing.values():
            rule = standing.rule
            if rule.by and self._acts_in(rule, process):
                found.append(self.as_told(standing))
        return found

    def as_told(self, standing: Standing) -> Rule:
        """A rule with what only we know of it."""
        peer = self._peer(standing.rule)
        return changed(standing.rule, fired=standing.fired, peer_domid=peer)

    def placed(self, standing: Standing, process: Process, why: str, ports: list[int]) -> None:
        """A process has put a rule in place, for these of its ports; or could not, and *why*."""
        domid = process.domid
        others = {entry for entry in standing.cover if entry[0] != domid}
        standing.cover = others | {(domid, port) for port in ports}
        if why and why != standing.trouble:
            number = standing.rule.number
            self._ledger.refuse("fault.refused", domid, why[:TEXT_MAX], rule=number)
        standing.trouble = why[:TEXT_MAX]

    def one_of(self, process: Process, number: int) -> Standing:
        """A rule that acts in a process.  Raises: XenError(ENOENT)."""
        standing = self._standing.get(number)
        if standing is None or not self._acts_in(standing.rule, process):
            raise XenError(ENOENT, f"fault: {process.name} has no rule {number}")
        return standing

    def news(self, process: Process) -> bool:
        """Whether what :meth:`of` tells a process has changed since it was last asked this."""
        changes, process.faults_changed = process.faults_changed, False
        if changes is None:
            rules = self._standing.values()
            return any(one.rule.by and self._acts_in(one.rule, process) for one in rules)
        return changes

    def born(self, domain: Domain) -> None:
        """A domain has got its processes: who has rules about it learns its number."""
        for standing in self._standing.values():
            if standing.rule.peer == domain.handle:
                self._tell(standing.rule)
            if standing.rule.domain == domain.handle and standing.born is not None:
                standing.born(domain)

    def port_closed(self, domid: int, port: int) -> None:
        """A port is no more; its number may be another's soon."""
        for standing in self._standing.values():
            standing.cover.discard((domid, port))

    def gone(self, domid: int) -> None:
        """A domain is no more, and its ports."""
        for standing in self._standing.values():
            standing.cover = {entry for entry in standing.cover if entry[0] != domid}

    # -- inside ------------------------------------------------------------------------------

    def _expire(self, standing: Standing) -> None:
        if self._standing.get(standing.rule.number) is standing:
            self.remove(standing.rule.number)

    @staticmethod
    def _acts_in(rule: Rule, process: Process) -> bool:
        if process.domain.handle != rule.domain:
            return False
        return process.main if not rule.process else process.name == rule.process

    def living(self, handle: bytes) -> Domain | None:
        """The youngest domain of a handle: its earlier life may not be gone yet."""
        found = [domain for domain in self._domains.values() if domain.handle == handle]
        return max(found, key=lambda domain: (domain.created, domain.domid), default=None)

    def _domid(self, rule: Rule) -> int:
        domain = self.living(rule.domain)
        return -1 if domain is None else domain.domid

    def _peer(self, rule: Rule) -> int:
        if rule.peer is None:
            return -1
        domain = self.living(rule.peer)
        return -2 if domain is None else domain.domid

    def _tell(self, rule: Rule) -> None:
        if not rule.by:
            return
        for domain in self._domains.values():
            for process in domain.processes.values():
                if not process.gone and self._acts_in(rule, process):
                    process.faults_changed = True
                    process.upcall.ring()
