"""Faults of the wire behind an interface: what happens to frames between netback and its link.

A `FaultyLink` stands before the link (the seam ``LINK``) of each interface that a rule is about,
and all the rules about it stand in there, one behind the other (`shaper`).  To netback it is a
link.  Frames that a guest does not take wait where they always do, in the link's own queue.

Rules come and go under a running guest without a frame lost: a faulty link that nobody breaks any
more hands over what it holds before it steps aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from hvsim.domain.seams import LINK
from hvsim.drivers.net.offload import VNET
from hvsim.faults.inject.faulty_link import FaultyLink
from hvsim.faults.inject.shaper import Stage, Terms
from hvsim.names.mac import bytes_of as mac_bytes
from hvsim.xs.client import StoreError

if TYPE_CHECKING:
    from hvsim.domain.domain import Domain
    from hvsim.domain.injection import Fault
    from hvsim.domain.xenbus.device import Device

IN: Final = "in"
"""To the guest."""
OUT: Final = "out"
"""From it."""
_WORDS: Final = {IN: "to the guest", OUT: "from the guest"}
_SOURCE: Final = slice(VNET.size + 6, VNET.size + 12)
"""Where a frame says who has sent it."""


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* into the wires of every interface that it is about."""
    wires = _WIRES.get(fault.domain)
    if wires is None:
        wires = _WIRES[fault.domain] = Wires(fault.domain)
    return wires.add(fault)


@dataclass(eq=False)
class Bad:
    """A rule that stands.

    Attributes:
        between: when it is about frames between two domains: (the addresses of who sends them,
            those of who gets them) of each way.
    """

    fault: Fault
    terms: Terms
    between: list[tuple[frozenset[bytes], frozenset[str]]] | None
    lifted: bool = False

    @property
    def down(self) -> bool:
        """Whether it takes the carrier away."""
        return self.fault.settings.get("link") == "down"

    def ways(self, device: Device) -> dict[str, Callable[[bytes], bool]]:
        """What it breaks of *device*: which way, and which frames; none when it is not about it."""
        settings = self.fault.settings
        if not self.fault.is_about(device):
            return {}
        if self.between is not None:
            try:
                own = device.read("mac") or ""
            except StoreError as failed:
                self.fault.placed(f"{device.nodename}: its address: {failed}")
                return {}
            sources = frozenset[bytes]().union(
                *(ours for ours, theirs in self.between if own.lower() in theirs)
            )
            return {IN: lambda frame: frame[_SOURCE] in sources} if sources else {}
        direction = settings.get("direction")
        return {way: lambda frame: True for way in (IN, OUT) if direction in (None, way)}

    def stage(self, name: str, way: str, wanted: Callable[[bytes], bool]) -> Stage:
        """A stage of it, for the interface called *name*."""
        fault = self.fault
        return Stage(
            self.terms,
            fault.dice,
            lambda would: not self.lifted and fault.fires(would),
            lambda text: fault.told(f"{name}, {_WORDS[way]}: {text}"),
            wanted,
        )


class Wires:
    """The faulty links of one process, and the rules that stand in them."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._rules: list[Bad] = []
        self._links: dict[str, FaultyLink] = {}
        self._take_out: Callable[[], None] | None = None

    def add(self, fault: Fault) -> Callable[[], None]:
        """One rule more; returns what takes it away.

        Both are done in the next turn: rules may change while a driver waits for the store.
        Raises: ValueError.
        """
        rule = Bad(fault, _terms(fault.settings), _between(fault.settings))
        later = self._domain.vcpu.call_later
        later(0.0, lambda: self._enter(rule))

        def lift() -> None:
            rule.lifted = True
            later(0.0, lambda: self._leave(rule))

        return lift

    def _enter(self, rule: Bad) -> None:
        if rule.lifted:
            return
        self._rules.append(rule)
        for link in list(self._links.values()):
            self._join(link, rule)
        if self._take_out is None:
            self._take_out = self._domain.seams.insert(LINK, self._layer)
        else:
            self._domain.seams.again(LINK)

    def _leave(self, rule: Bad) -> None:
        if rule in self._rules:
            self._rules.remove(rule)
            for link in list(self._links.values()):
                link.leave(rule)
            self._tidy()

    def _layer(self, link: Any, device: Device) -> Any:
        """What stands before *link*: nothing where no rule is about it."""
        name = device.nodename
        known = self._links.get(name)
        if known is not None:
            if not known.over:
                return known
            known.close()
        ways = [(rule, rule.ways(device)) for rule in self._rules]
        if not any(way for _, way in ways):
            return link
        made = self._links[name] = FaultyLink(
            self._domain,
            link,
            device,
            stepped_aside=lambda: self._domain.seams.again(LINK),
            closed=lambda: self._closed(name),
        )
        for rule, _ in ways:
            self._join(made, rule)
        return made

    @staticmethod
    def _join(link: FaultyLink, rule: Bad) -> None:
        ways = rule.ways(link.device)
        stages = {way: rule.stage(link.name, way, wanted) for way, wanted in ways.items()}
        if stages:
            link.join(rule, stages.get(IN), stages.get(OUT), rule.fault if rule.down else None)

    def _closed(self, name: str) -> None:
        del self._links[name]
        self._domain.vcpu.call_later(0.0, self._tidy)

    def _tidy(self) -> None:
        """Nothing stands at the seam when nobody needs it."""
        take_out = self._take_out
        if take_out is not None and not self._rules and not self._links:
            self._take_out = None
            take_out()


def _terms(settings: dict[str, Any]) -> Terms:
    """What the words of a rule come to."""
    least, most = settings.get("delay", (0.0, 0.0))
    return Terms(
        gone="partition" in settings or settings.get("link") == "down",
        drop=settings.get("drop", 0.0),
        duplicate=settings.get("duplicate", 0.0),
        corrupt=settings.get("corrupt", 0.0),
        reorder=settings.get("reorder", 0.0),
        delay=(least, most),
        rate=settings.get("rate", 0.0),
    )


def _between(settings: dict[str, Any]) -> list[tuple[frozenset[bytes], frozenset[str]]] | None:
    ways = settings.get("between")
    if ways is None:
        return None
    return [
        (frozenset(mac_bytes(mac) for mac in senders), frozenset(mac.lower() for mac in takers))
        for senders, takers in ways
    ]


_WIRES: Final[WeakKeyDictionary[Domain, Wires]] = WeakKeyDictionary()
