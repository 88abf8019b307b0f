"""What the toolstack daemon knows: the host, and each domain that it has made."""

import time
import uuid as uuids
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from hvsim.domain.domain import Domain
from hvsim.names.domain import number
from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.errors import ToolstackError
from hvsim.toolstack.hypervisor import DomainInfo, Hypervisor
from hvsim.toolstack.images import Images
from hvsim.toolstack.layout import Device, Vbd, Vif, domain_path
from hvsim.toolstack.libxl_files import LibxlFiles
from hvsim.toolstack.monitor import Monitor
from hvsim.toolstack.store import PATIENCE, Store, open_store

PAGES_PER_MIB: Final = 256


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the lab said about every domain made by hand.

    Attributes:
        images: declared images by name.
        files: files that driver domains may open.
        path: where programs are looked for.
        shared: images that several disks may have at a time.
        walls: "all", or "what-there-is".
    """

    images: dict[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    walls: str = "all"


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """All that a domain is made from, kept so that it can be made again.

    Attributes:
        config: text of the config; *config_path* its name in messages.
        directory: what relative names in it are relative to.
        overrides: further lines.
        images: declared images by name.
        program: "module:function" in place of the config's.
        args: the program's arguments.
        profile: "guest" or "driver".
        files: what the domain's process may open, with "r" or "rw".
        path: where its program is looked for.
        restart: "always" or "never".
        walls: "all": it starts with all of its walls or not at all; "what-there-is".
    """

    config: str
    config_path: str
    directory: str
    overrides: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)
    program: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    profile: str = "guest"
    files: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    restart: str = "never"
    walls: str = "all"
    paused: bool = False


@dataclass(slots=True)
class Disk:
    """An attached disk: where it stands in the store, and what stands there."""

    device: Device
    vbd: Vbd

    @property
    def half(self) -> Vbd:
        """What the backend is told."""
        return self.vbd

    @property
    def name(self) -> str:
        """How the guest calls it."""
        return self.vbd.vdev


@dataclass(slots=True)
class Nic:
    """An attached network interface: where it stands in the store, and what stands there."""

    device: Device
    vif: Vif

    @property
    def half(self) -> Vif:
        """What the backend is told."""
        return self.vif

    @property
    def name(self) -> str:
        """How the guest calls it."""
        return f"eth{self.device.devid}"


@dataclass(slots=True)
class Guest:
    """A domain that this toolstack made.

    Attributes:
        request, config: what it was made from.
        disks, nics: by device number.
        restarts: how often it was rebuilt after a death.
        born: monotonic seconds.
        handled: its shutdown was acted upon, or it is being destroyed.
        started: set when its first process runs, or could not be made; then *failure* says why.
        complete: it is made, with all its devices; from here on the store says which it has.
        actions: on_* of the config, which a stopping lab overrides.
        monitored: somebody acts upon its end (``xl create -e``: nobody).
        monitor: who wants to hear what is done then.
    """

    domid: int
    name: str
    uuid: str
    request: CreateRequest
    config: DomainConfig
    disks: dict[int, Disk] = field(default_factory=dict)
    nics: dict[int, Nic] = field(default_factory=dict)
    restarts: int = 0
    failures: int = 0
    born: float = field(default_factory=time.monotonic)
    handled: bool = False
    started: anyio.Event = field(default_factory=anyio.Event)
    failure: str = ""
    monitored: bool = True
    monitor: Monitor | None = None
    complete: bool = False

    @property
    def devices(self) -> list[Disk | Nic]:
        """All that other domains serve it."""
        return [*self.disks.values(), *self.nics.values()]

    def attached(self, device: Device) -> Disk | Nic | None:
        """What this toolstack attached there."""
        known = self.nics if device.kind == "vif" else self.disks
        found = known.get(device.devid)
        return found if found is not None and found.device == device else None

    @property
    def driver(self) -> bool:
        """Whether it serves devices to others."""
        return self.config.driver_domain or self.request.profile == "driver"


class Toolstack:
    """The daemon's state.

    Attributes:
        hypervisor: hypercalls.
        guests: domid -> what this toolstack made and has not destroyed.
        images: the images that their disks have.
        stopping: the lab is going down: nothing is restarted any more.
        our_store: the store is that of hvsim, not one of Xen's own daemons.
        place: where programs of Domain-0 find the lab's own /var/lib/xen and the like.
        libxl_files: what libxl keeps of each domain, there.
        tasks: what goes on beside the verbs; the daemon's own group.
        lost: why there is no store any more and will be none; "" while there is one.
        look: act upon domains that have stopped meanwhile.
    """

    def __init__(self, dom: Domain) -> None:
        args = dom.args
        self.dom: Final = dom
        self.hypervisor: Final = Hypervisor(dom)
        self.lab: Final = str(args.get("lab") or "lab")
        self.run_dir: Final = Path(str(args["run_dir"]))
        self.store_path: Final = str(args.get("xenstored") or self.run_dir / "xenstored" / "socket")
        self.guests: Final[dict[int, Guest]] = {}
        self.images: Final = Images(self.run_dir)
        self.defaults = Defaults()
        self.stopping = False
        self.lost = ""
        self.our_store: Final = not args.get("mourn")
        self.place: Final = self.run_dir / "dom0"
        self.libxl_files: Final = LibxlFiles(self.place / "var/lib/xen")
        # Ours comes back when it has died; a real one does not.
        self._patience: Final = PATIENCE if self.our_store else 0.0
        self.changed = anyio.Event()
        self.tasks: TaskGroup
        self.look: Callable[[], None] = _look_at_nothing
        self._transactions: Final = anyio.Lock()
        self._script_locks: Final[dict[int, anyio.Lock]] = {}

    @asynccontextmanager
    async def store(self, label: str = "XL") -> AsyncIterator[Store]:
        """A store connection for one operation.

        Raises: OSError; ToolstackError when the store is lost.
        """
        if self.lost:
            raise ToolstackError(self.lost)
        async with open_store(
            self.store_path, label, self.lab, self._transactions, self._patience
        ) as store:
            yield store

    def script_lock(self, domid: int) -> anyio.Lock:
        """Held while a hotplug script runs in a driver domain."""
        for gone in self._script_locks.keys() - self.guests.keys():
            if not self._script_locks[gone].locked():
                del self._script_locks[gone]
        return self._script_locks.setdefault(domid, anyio.Lock())

    def guest(self, domid: int) -> Guest | None:
        """The record of a domain, None for dom0 and for one that is not ours."""
        return self.guests.get(domid)

    def notice(self) -> None:
        """Something happened to a domain: wake whoever waits for that."""
        event, self.changed = self.changed, anyio.Event()
        event.set()

    def known(self, text: str) -> int | None:
        """The number of the domain that *text* names, without asking the store."""
        domid = number(text)
        if domid is not None:
            return domid
        named = {guest.name: guest.domid for guest in self.guests.values()}
        return {"Domain-0": 0, **named}.get(text)

    async def names(self, store: Store, infos: list[DomainInfo]) -> list[str | None]:
        """The names of domains, None for one that has left the store (a zombie)."""
        return await store.read_many(f"{domain_path(info.domid)}/name" for info in infos)

    async def find(self, store: Store, text: str) -> int | None:
        """The number of the domain that *text* names, by number or name.

        As in xl a number stands for itself, whether there is such a domain or not.
        """
        domid = number(text)
        if domid is not None:
            return domid
        infos = self.hypervisor.domains()
        for info, name in zip(infos, await self.names(store, infos), strict=True):
            if name == text:
                return info.domid
        return None

    def resolve(self, target: str, request: CreateRequest) -> str:
        """The absolute path of a disk's target: a declared image, or a file."""
        images = {**self.defaults.images, **request.images}
        if target in images:
            return images[target]
        path = Path(target)
        return str(path if path.is_absolute() else Path(request.directory) / path)


def _look_at_nothing() -> None:
    """Until somebody watches the domains."""


def new_uuid() -> str:
    """A uuid for a domain whose config names none."""
    return str(uuids.uuid4())


def as_paused(request: CreateRequest, paused: bool) -> CreateRequest:
    """The same request, to be left paused or not."""
    return replace(request, paused=paused)
