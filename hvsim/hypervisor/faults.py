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
from hvsim.hypervisor.work import Job, pieces
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
_PIECE: Final = 4
"""Rules that meet a new domain in one piece of work."""


@dataclass(eq=False)
class Standing:
    """A rule in force.

    Attributes:
        since: nanoseconds, when it was added.
        fired: how often it has fired.
        last: what the last firing did.
        follower: the process of dom0 that has put it in place, by its token.
        leaves: it was taken away while who follows it was dead: whoever comes in his place puts it
            in place once more, as he may have something of it to undo, and then it goes.
        lift: takes away what a seam of ours has put in place.
        born: called with each new domain of the rule's handle.
        peer_born: the same for the one at the other end.
        again: called with the domain when the process of dom0 that the rule names is made anew.
        cover: called when a process has said which of its event channels the rule is about; raises
            XenError, ENOSPC for too many.
    """

    rule: Rule
    since: int
    limit: RateLimit = field(default_factory=lambda: RateLimit(LINES_BURST, LINES_PER_SECOND))
    fired: int = 0
    last: str = ""
    follower: int | None = None
    leaves: bool = False
    lift: Callable[[], None] | None = None
    born: Callable[[Domain], None] | None = None
    peer_born: Callable[[Domain], None] | None = None
    again: Callable[[Domain], None] | None = None
    cover: Callable[[Process, list[int]], None] | None = None
    _troubles: dict[str, str] = field(default_factory=dict)

    @property
    def trouble(self) -> str:
        """Why it could not be put in place, "" otherwise."""
        return next(filter(None, self._troubles.values()), "")

    @property
    def placed(self) -> bool:
        """Whether it was put in place somewhere, or could not be."""
        return not self.rule.by or bool(self._troubles)

    def hinder(self, why: str, where: str = "") -> bool:
        """It could not be put in place, or could ("") after all; whether that is news."""
        news = bool(why) and self._troubles.get(where, "") != why
        self._troubles[where] = why
        return news


class Faults:
    """The rules of a machine.

    Attributes:
        seams: what the hypervisor itself breaks: name -> puts a rule in place, and returns what
            takes it away; raises XenError(EINVAL) for settings that make no sense.
    """

    def __init__(self, host: Host, ledger: Ledger) -> None:
        self._host = host
        self._ledger = ledger
        self._lives: dict[bytes, dict[int, Domain]] = {}
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
        """Take a rule away: at once, or when the process of dom0 that follows it is there again.

        Raises: XenError(ENOENT).
        """
        standing = self._standing.get(number)
        if standing is None:
            raise XenError(ENOENT, f"fault: there is no rule {number}")
        if not standing.leaves and self._waits(standing):
            standing.leaves = True
            standing.last = "taken away: it goes when the process that follows it is there again"
            return standing.rule
        del self._standing[number]
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

    def of(self, process: Process, after: int, most: int) -> list[Rule]:
        """What a process is to put in place itself, the other ends by their numbers of now: the
        first *most* beyond the number *after*."""
        found: list[Rule] = []
        for standing in self._standing.values():
            rule = standing.rule
            if rule.number > after and rule.by and self._acts_in(rule, process):
                found.append(self.as_told(standing, process))
                if len(found) == most:
                    break
        return found

    def as_told(self, standing: Standing, process: Process | None = None) -> Rule:
        """A rule with what only we know of it, as *process* has it, which may be at its other
        end."""
        rule = standing.rule
        if process is not None and rule.peer is not None and not self._acts_at_home(rule, process):
            rule = changed(
                rule,
                domain=rule.peer,
                process=rule.peer_process,
                peer=rule.domain,
                peer_process=rule.process,
            )
        return changed(rule, fired=standing.fired, peer_domid=self._peer(rule))

    def placed(self, standing: Standing, process: Process, why: str) -> None:
        """A process has put a rule in place; or could not, and *why*."""
        why = why[:TEXT_MAX]
        if standing.hinder(why, process.name if process.domain.privileged else ""):
            number = standing.rule.number
            self._ledger.refuse("fault.refused", process.domid, why, rule=number)
        if process.domain.privileged:
            standing.follower = process.token
        if standing.leaves:
            self._host.call_later(0, lambda: self._expire(standing))

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

    def born(self, domain: Domain) -> Job:
        """A domain has come to life: who has rules about it learns its number.  A job."""
        if not any(domain.handle) and not domain.privileged:
            return
        self._lives.setdefault(domain.handle, {})[domain.domid] = domain
        for pause, piece in pieces(list(self._standing.values()), _PIECE):
            if pause:
                yield
            if self._lives.get(domain.handle, {}).get(domain.domid) is not domain:
                return
            for standing in piece:
                if standing.rule.number in self._standing:
                    self._meet(standing, domain)

    def spawned(self, process: Process) -> None:
        """A process is made beside the main one of its domain: it may be another life of one."""
        for standing in list(self._standing.values()):
            if standing.again is not None and self._acts_at_home(standing.rule, process):
                standing.again(process.domain)

    def _meet(self, standing: Standing, domain: Domain) -> None:
        """A rule may be about a domain that has come to life."""
        rule = standing.rule
        if rule.peer == domain.handle:
            self._tell(rule)
            if standing.peer_born is not None:
                standing.peer_born(domain)
        if rule.domain == domain.handle:
            if rule.both:
                self._tell(rule)
            if standing.born is not None:
                standing.born(domain)

    def gone(self, domain: Domain) -> None:
        """A domain is no more."""
        lives = self._lives.get(domain.handle, {})
        lives.pop(domain.domid, None)
        if not lives:
            self._lives.pop(domain.handle, None)

    # -- inside ------------------------------------------------------------------------------

    def _expire(self, standing: Standing) -> None:
        if self._standing.get(standing.rule.number) is standing:
            self.remove(standing.rule.number)

    def _waits(self, standing: Standing) -> bool:
        """Whether the process of dom0 that has put it in place is dead."""
        dom0 = self.living(bytes(16))
        if standing.follower is None or dom0 is None:
            return False
        process = dom0.processes.get(standing.follower)
        return process is None or process.gone

    def _acts_in(self, rule: Rule, process: Process) -> bool:
        if self._acts_at_home(rule, process):
            return True
        return rule.both and rule.peer is not None and _is(process, rule.peer, rule.peer_process)

    @staticmethod
    def _acts_at_home(rule: Rule, process: Process) -> bool:
        return _is(process, rule.domain, rule.process)

    def living(self, handle: bytes) -> Domain | None:
        """The youngest domain of a handle: its earlier life may not be gone yet.  The handle of
        zeroes is dom0's, whoever else has none."""
        lives = self._lives.get(handle)
        return lives[next(reversed(lives))] if lives else None

    def _domid(self, rule: Rule) -> int:
        domain = self.living(rule.domain)
        return -1 if domain is None else domain.domid

    def _peer(self, rule: Rule) -> int:
        if rule.peer is None:
            return -1
        domain = self.living(rule.peer)
        return -2 if domain is None else domain.domid

    def _tell(self, rule: Rule) -> None:
        """Who is to put it in place learns of it: in the youngest life, an earlier one ends."""
        if not rule.by:
            return
        for handle in (rule.domain, rule.peer) if rule.both else (rule.domain,):
            domain = self.living(handle) if handle is not None else None
            for process in () if domain is None else domain.processes.values():
                if not process.gone and self._acts_in(rule, process):
                    process.faults_changed = True
                    process.upcall.ring()


def _is(process: Process, handle: bytes, name: str) -> bool:
    """Whether a process is the one that a rule names."""
    domain = process.domain
    if domain.handle != handle or not (any(handle) or domain.privileged):
        return False
    return process.name == name if name else process.main
