"""What the toolstack daemon knows: the host, and each domain that it has made."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from hvsim.domain.domain import Domain
from hvsim.names.domain import number
from hvsim.toolstack.host import trouble, userdata
from hvsim.toolstack.host.device import Device
from hvsim.toolstack.host.dice import Dice
from hvsim.toolstack.host.errors import ToolstackError
from hvsim.toolstack.host.guest import Departed, Guest
from hvsim.toolstack.host.hypervisor import DomainInfo, Hypervisor
from hvsim.toolstack.host.images import Images
from hvsim.toolstack.host.job import Job
from hvsim.toolstack.host.libxl_files import LibxlFiles
from hvsim.toolstack.host.nodes import domain_path
from hvsim.toolstack.host.request import CreateRequest as CreateRequest
from hvsim.toolstack.host.request import Defaults
from hvsim.toolstack.host.store import PATIENCE, Reader, Store, open_store
from hvsim.toolstack.host.userdata_files import FOLDER
from hvsim.toolstack.host.waiting import STORE, Tasks, working
from hvsim.wire.typed import read

PAGES_PER_MIB: Final = 256
MAX_DEPARTED: Final = 64
"""Domains that have gone and are still spoken of."""


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
        working: what it does at the moment, the requests of others among it.
        ending: domains that are being destroyed.
        gave_up: processes of dom0 that it does not start again any more, and why.
        dead: domains that it does not make again any more, by number.
        departed: what became of domains that were here, by name; the last of them.
        notes: what must outlive this process.
        dice: what is drawn at random.
        wall: seconds since the epoch.
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
        self.defaults = read(Defaults, args.get("defaults") or {})
        self.stopping = False
        self.lost = ""
        self.working: Final[Tasks] = {}
        self.gave_up: Final[dict[str, str]] = {}
        self.dead: Final[dict[int, Guest]] = {}
        self.departed: Final[dict[str, Departed]] = {}
        self.ending: Final[dict[int, Job]] = {}
        self.notes: Final = userdata.Userdata(self.run_dir / FOLDER, dom.log)
        self.dice: Final = Dice((*args.get("drawn_from", ()), args.get("seed"), dom.vcpu.now()))
        self.wall: Final[Callable[[], float]] = lambda: dom.vcpu.wall() / 1e9
        self.our_store: Final = not args.get("mourned")
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
            self.store_path,
            label,
            self.lab,
            self._transactions,
            self._patience,
            self._store_trouble,
            queue=PATIENCE,
        ) as store:
            yield store

    def _store_trouble(self) -> str:
        trouble = STORE.trouble(self.census())
        return trouble.text if trouble is not None else self.lost

    def census(self) -> trouble.Census:
        """One look at everybody, now."""
        dead = {guest.domid: guest.gave_up for guest in self.dead.values()}
        names = {guest.domid: guest.name for guest in (*self.dead.values(), *self.guests.values())}
        return trouble.Census(
            self.hypervisor.processes(),
            self.hypervisor.domain_rows(),
            names,
            {
                **trouble.told_by_init(self.run_dir),
                **{name: {"given_up": text} for name, text in self.gave_up.items()},
            },
            self.hypervisor.machine()["pids"],
            last_words=lambda domid: trouble.last_words_in(self.hypervisor.console(False), domid),
            dead=dead,
            mourned="" if self.our_store else "xenstored",
            full=trouble.full_disk(self.run_dir),
        )

    def keep(self, guest: Guest, stage: userdata.Stage | None = None) -> None:
        """Note *guest* as it is now, for a toolstack that comes after this one."""
        guest.stage = stage or guest.stage
        self.notes.keep(
            userdata.Record(
                guest.domid,
                guest.uuid,
                guest.name,
                guest.request,
                guest.stage,
                guest.replaces,
                guest.lives.record(),
                guest.handled,
                guest.gave_up,
                sorted(guest.changing),
            )
        )

    @contextmanager
    def changing(self, device: Device) -> Iterator[None]:
        """Within the block *device* is attached or detached: a toolstack that comes after this one
        takes away what was half done."""
        guest, entry = self.guests.get(device.domid), f"{device.kind}/{device.devid}"
        if guest is None:
            yield
            return
        guest.changing.add(entry)
        self.keep(guest)
        try:
            yield
        finally:
            guest.changing.discard(entry)
            if self.guests.get(guest.domid) is guest:
                self.keep(guest)

    def depart(self, guest: Guest, text: str) -> None:
        """*guest* is no more; *text*: what became of it, in a sentence."""
        self.departed[guest.name] = Departed(guest.domid, guest.name, text)
        while len(self.departed) > MAX_DEPARTED:
            del self.departed[next(iter(self.departed))]

    def script_lock(self, domid: int) -> anyio.Lock:
        """Held while a hotplug script runs in a driver domain."""
        for gone in self._script_locks.keys() - self.guests.keys():
            if not self._script_locks[gone].locked():
                del self._script_locks[gone]
        return self._script_locks.setdefault(domid, anyio.Lock())

    def begin(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do something beside the requests, as a task of that name.  What *work* raises is the
        end of the toolstack."""

        async def do() -> None:
            with working(name, self.working):
                await work()

        self.tasks.start_soon(do)

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

    async def names(self, store: Reader, infos: list[DomainInfo]) -> list[str | None]:
        """The names of domains, None for one that has left the store (a zombie)."""
        return await store.read_many(f"{domain_path(info.domid)}/name" for info in infos)

    async def find(self, store: Reader, text: str) -> int | None:
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
