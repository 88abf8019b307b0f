"""Rules about doorbells: which event channels each is about, and what it does to their notifies.

Seam "bell" of the rules (`faults`).  A rule about a device is about the ports that the processes of
its halves have named; one about two domains is about whatever they have between them: what the
first sends the second, and the other way when it is about both.  Pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from hvsim.abi.errno import EINVAL, ENOSPC
from hvsim.hypervisor.clock import dice
from hvsim.hypervisor.domains import Domain, Process
from hvsim.hypervisor.errors import XenError
from hvsim.hypervisor.events import Port
from hvsim.hypervisor.faults import Faults, Standing
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.mediation import AGAIN, MAX_STORM, UNTOUCHED, Fate, Policy
from hvsim.hypervisor.wires import HELD_MOST, Late
from hvsim.hypervisor.work import SMALL, Job, Work, pieces
from hvsim.wire.fault import Trigger

MAX_COVERED: Final = 256
"""Ports that processes may name for one rule."""
MAX_ON_ONE: Final = 32
"""Rules between the same two domains, and about the same port: each notify passes them all."""
TICK: Final = 1_000_000
"""Nanoseconds between two looks of a storm, at least: more than one notify comes at a time then."""
_SECOND: Final = 1_000_000_000

Channel = tuple[int, int]
"""(domid, number of a port), or (domid that sends, domid that hears)."""


class Bells:
    """Puts rules of the seam in place.

    Args:
        settle: brings a port in line with the rules about it.  Raises OSError.
        domains, processes: those that there are.
    """

    def __init__(
        self,
        host: Host,
        faults: Faults,
        work: Work,
        settle: Callable[[Port], None],
        domains: Mapping[int, Domain],
        processes: Mapping[int, Process],
    ) -> None:
        self._host = host
        self._faults = faults
        self._work = work
        self._settle = settle
        self._domains = domains
        self._processes = processes
        self._covered: dict[Channel, list[BellRule]] = {}
        self._between: dict[Channel, list[BellRule]] = {}
        self._storms = 0.0
        faults.seams["bell"] = self.place

    def about(self, port: Port) -> Sequence["BellRule"]:
        """The rules that are about what a port sends."""
        covered = self._covered.get((port.domid, port.number))
        between = self._between.get((port.domid, port.remote))
        if between is None:
            return covered or ()
        fit = [rule for rule in between if rule.fits(port, self._process)]
        return fit if covered is None else [*covered, *fit]

    def place(self, standing: Standing) -> Callable[[], None]:
        """Settings as in `mediation`."""
        policy = Policy.parse(standing.rule.settings)
        if standing.rule.peer is None:
            raise XenError(EINVAL, "fault: bells are between two domains")
        if self._storms + policy.storm > MAX_STORM:
            raise XenError(ENOSPC, f"fault: all storms have {MAX_STORM:g} notifies a second")
        self._storms += policy.storm
        rule = BellRule(self._faults, standing, policy, self._spent)
        if standing.rule.by:
            standing.cover = partial(self._cover, rule)
        else:
            standing.born = partial(self._join, rule, standing.rule.peer, True)
            standing.peer_born = partial(self._join, rule, standing.rule.domain, False)
            first = self._faults.living(standing.rule.domain)
            if first is not None:
                standing.born(first)
        if policy.storm:
            self._storm(rule, self._host.now())
        return partial(self._lift, rule)

    def port_closed(self, domid: int, number: int) -> None:
        """A port is no more; its number may be another's soon."""
        for rule in self._covered.pop((domid, number), ()):
            rule.covered.pop((domid, number), None)

    def gone(self, domid: int) -> None:
        """A domain is no more, nor a port of it."""
        for channel in [one for one in self._between if domid in one]:
            for rule in self._between.pop(channel):
                rule.between.pop(channel, None)

    # -- which channels ------------------------------------------------------------------------

    def _cover(self, rule: "BellRule", process: Process, numbers: list[int]) -> None:
        """A process names ports of its own.  Raises: XenError(ENOSPC)."""
        new = [n for n in dict.fromkeys(numbers) if (process.domid, n) not in rule.covered]
        if len(rule.covered) + len(new) > MAX_COVERED:
            raise XenError(ENOSPC, f"fault: a rule is about {MAX_COVERED} ports at most")
        full = [n for n in new if len(self._covered.get((process.domid, n), ())) >= MAX_ON_ONE]
        if full:
            raise XenError(ENOSPC, f"fault: {MAX_ON_ONE} rules are about port {full[0]} at most")
        for number in new:
            rule.covered[process.domid, number] = None
            self._covered.setdefault((process.domid, number), []).append(rule)
        ports = process.domain.events.ports
        self._work.start(self._resettle(rule, [ports[number] for number in new]))

    def _join(self, rule: "BellRule", other: bytes, sends: bool, domain: Domain) -> None:
        """A life of one of the two has begun, or is there."""
        peer = self._faults.living(other)
        if peer is None:
            return
        channel = (domain.domid, peer.domid) if sends else (peer.domid, domain.domid)
        ways = [channel, channel[::-1]] if rule.both else [channel]
        for way in ways:
            if len(self._between.get(way, ())) >= MAX_ON_ONE:
                rule.standing.hinder(f"{MAX_ON_ONE} rules are about those two domains at most")
            elif way not in rule.between:
                rule.between[way] = way != channel
                self._between.setdefault(way, []).append(rule)
                self._work.start(self._resettle(rule, self._ports(way)))

    def _ports(self, channel: Channel) -> Iterator[Port]:
        domain = self._domains.get(channel[0])
        return iter(() if domain is None else list(domain.events.towards(channel[1]).values()))

    def _resettle(self, rule: "BellRule", ports: Iterator[Port] | list[Port]) -> Job:
        for pause, piece in pieces(ports):
            if pause:
                yield
            for port in piece:
                domain = self._domains.get(port.domid)
                if domain is None or domain.events.ports.get(port.number) is not port:
                    continue
                try:
                    self._settle(port)
                except OSError as error:
                    rule.standing.hinder(f"d{port.domid} port {port.number}: {error}")
                    return

    def _process(self, port: Port) -> str:
        process = self._processes.get(port.token) if port.token is not None else None
        return process.name if process is not None else ""

    # -- what it does --------------------------------------------------------------------------

    def _lift(self, rule: "BellRule") -> None:
        rule.lifted = True
        self._storms -= rule.policy.storm
        for covered in rule.covered:
            _take_out(self._covered, covered, rule)
        for channel in rule.between:
            _take_out(self._between, channel, rule)
        for notify in list(rule.late):
            notify.arrive()
        rule.held = None
        self._work.start(self._resettle(rule, self._all_ports(rule)))

    def _spent(self, rule: "BellRule") -> None:
        """It will not fire again; when what it holds has arrived, its ports are as without it.

        Of one that loses notifies they stay as they are: as they become direct again they are rung,
        and so what was lost would be made good.
        """
        if rule.policy.drop:
            return

        def over() -> None:
            if not rule.lifted:
                rule.over = True
                self._work.start(self._resettle(rule, self._all_ports(rule)))

        self._host.call_later(HELD_MOST + AGAIN + int(rule.policy.delay[1] * _SECOND), over)

    def _all_ports(self, rule: "BellRule") -> Iterator[Port]:
        for domid, number in list(rule.covered):
            domain = self._domains.get(domid)
            port = domain.events.ports.get(number) if domain is not None else None
            if port is not None:
                yield port
        for channel in list(rule.between):
            yield from self._ports(channel)

    def _storm(self, rule: "BellRule", since: int) -> None:
        """Ring what is due since then, one channel after the other."""
        if rule.lifted or rule.trigger.spent:
            return
        now, rate = self._host.now(), rule.policy.storm
        due = int((now - since) * rate / _SECOND)
        for port in self._next_ports(rule, min(due, SMALL)):
            if rule.trigger.looks():
                rule.told(port, "rung without a cause")
                assert port.peer is not None
                port.peer.ring()
        since = now if due > SMALL else since + int(due * _SECOND / rate)
        wait = max(TICK, int(_SECOND / rate))
        self._host.call_later(wait, partial(self._storm, rule, since))

    def _next_ports(self, rule: "BellRule", count: int) -> list[Port]:
        """So many of those that are bound, in turn; a bounded look."""
        found: list[Port] = []
        for _ in range(SMALL + count):
            if len(found) == count:
                break
            port = next(rule.round, None)
            if port is None:
                rule.round = self._all_ports(rule)
            elif port.peer is not None and rule in self.about(port):
                found.append(port)
        return found


def _take_out(index: dict[Channel, list["BellRule"]], channel: Channel, rule: "BellRule") -> None:
    index[channel].remove(rule)
    if not index[channel]:
        del index[channel]


class BellRule:
    """One rule, as notifies pass it (``wires.Judge``).

    Attributes:
        covered: ports that their processes have named.
        between: pairs of domains that it is about, each with whether it is the way back.
        over: whether it will do nothing any more, also to what it holds.
        round: those of its ports that a storm has not come to yet.
    """

    def __init__(
        self,
        faults: Faults,
        standing: Standing,
        policy: Policy,
        spent: Callable[["BellRule"], None],
    ) -> None:
        rule = standing.rule
        self.standing: Final = standing
        self.policy: Final = policy
        self.both: Final = rule.both
        self.covered: dict[Channel, None] = {}
        self.between: dict[Channel, bool] = {}
        self.late: dict[Late, None] = {}
        self.held: Late | None = None
        self.lifted = False
        self.over = False
        self.spent = spent
        self.round: Iterator[Port] = iter(())
        self._faults = faults
        self._dice = dice(rule.seed).random
        self.trigger = Trigger(rule.when, self._dice)
        kind, number = rule.settings.get("type"), rule.settings.get("devid")
        self._device = f"{kind} {number}, "[:40] if kind is not None else ""

    @property
    def mediates(self) -> bool:
        """Whether notifies are to pass it."""
        return self.policy.mediates and not self.over

    def fits(self, port: Port, name: Callable[[Port], str]) -> bool:
        """Whether it is about the processes at both ends, for one between domains."""
        rule = self.standing.rule
        own, other = rule.process, rule.peer_process
        if self.between[port.domid, port.remote]:
            own, other = other, own
        if own and name(port) != own:
            return False
        return not other or port.peer is None or name(port.peer) == other

    def judge(self, port: Port) -> Fate:
        """What becomes of a notify of *port*."""
        if not self.policy.mediates or not self.trigger.looks():
            return UNTOUCHED
        fate = self.policy.decide(self._dice)
        if fate:
            self.told(port, str(fate))
        return fate

    def told(self, port: Port, what: str) -> None:
        """It has fired."""
        self.trigger.fired += 1
        text = f"{self._device}d{port.domid} port {port.number} -> d{port.remote}: {what}"
        self._faults.fired(self.standing, port.domid, text)
        if self.trigger.spent:
            self.spent(self)
