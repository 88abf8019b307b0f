"""What the toolstack knows of one domain that it has made, or that was here."""

from dataclasses import dataclass, field
from typing import NamedTuple

import anyio

from hvsim.domain.restarts import Restarts
from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.request import CreateRequest
from hvsim.toolstack.host.userdata import Stage


@dataclass(slots=True)
class Monitor:
    """One who waits for a domain's end, and for that of the domains that follow it.

    Attributes:
        lines: what was done meanwhile.
        acting: something is being done about an end.
    """

    lines: list[str] = field(default_factory=list)
    acting: bool = False


@dataclass(slots=True)
class Guest:
    """A domain that this toolstack made.

    Attributes:
        request, config: what it was made from.
        by_kind: its devices, by kind and number; see ``of``.
        lives: how often it has died and was rebuilt.
        born: seconds of the loop's clock.
        handled: its shutdown was acted upon, or it is being destroyed.
        gave_up: why it is not rebuilt any more; "" while it is.
        stage: how far it has come (``userdata``).
        replaces: the domain that it is made in the place of.
        changing: devices that are being attached or detached, as "vbd/51712".
        started: set when its first process runs, or could not be made; then *failure* says why.
        complete: it is made, with all its devices; from here on the store says which it has.
        monitored: somebody acts upon its end (``xl create -e``: nobody).
        monitor: who wants to hear what is done then.
    """

    domid: int
    name: str
    uuid: str
    request: CreateRequest
    config: DomainConfig
    by_kind: dict[str, dict[int, Attached]] = field(default_factory=dict)
    lives: Restarts = field(default_factory=Restarts)
    born: float = field(default_factory=anyio.current_time)
    handled: bool = False
    started: anyio.Event = field(default_factory=anyio.Event)
    failure: str = ""
    monitored: bool = True
    monitor: Monitor | None = None
    complete: bool = False
    gave_up: str = ""
    stage: Stage = "building"
    replaces: int | None = None
    changing: set[str] = field(default_factory=set)

    @property
    def restarts(self) -> int:
        """How often it was rebuilt after a death."""
        return self.lives.count

    def of(self, kind: str) -> dict[int, Attached]:
        """Its devices of a kind by number, to be changed in place."""
        return self.by_kind.setdefault(kind, {})

    @property
    def devices(self) -> list[Attached]:
        """All that other domains serve it."""
        return [one for some in self.by_kind.values() for one in some.values()]

    def attached(self, device: Device) -> Attached | None:
        """What this toolstack attached there."""
        found = self.of(device.kind).get(device.devid)
        return found if found is not None and found.device == device else None

    @property
    def driver(self) -> bool:
        """Whether it serves devices to others."""
        return self.config.driver_domain or self.request.profile == "driver"


class Departed(NamedTuple):
    """A domain that was here; *text* says what became of it."""

    domid: int
    name: str
    text: str
