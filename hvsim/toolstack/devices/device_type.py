"""What the toolstack must know of a kind of devices, all of it in one object (libxl's
``libxl__device_type``).

The walks are the same for every kind and ask it for what differs: attaching (``attach.py``),
detaching (``detach.py``), hotplug scripts (``hotplug.py``), what is read anew from the store and
told to libxl's records (``attached.py``), a backend that is another one (``move.py``).  Which kinds
there are is said in ``types.py`` and nowhere else.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from hvsim.names.number import unsigned
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.devices.numbering import ADD_ASYNC, Numbering, already
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached, Device, Half
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.nodes import libxl_path
from hvsim.toolstack.host.store import Reader, Store


class UsualScript(NamedTuple):
    """The hotplug script of a kind that this toolstack carries out itself.

    Attributes:
        path: what libxl calls it.
        actions: its words for a device that comes, and for one that goes.
        looked_at: what of the backend's directory it reads of a device that goes.
        comes: carries it out.  Raises ToolstackError in libxl's words.
        words: further words of its command line.
        environment: what it is told besides: of a device and what the config calls the netdev.
        before, after: what libxl logs around it: where, and what.
        networked: it works on dom0's links.
        holds: it may have set up a loop device.
    """

    path: str
    actions: tuple[str, str]
    looked_at: tuple[str, ...]
    comes: Callable[[Toolstack, Device], Awaitable[None]]
    words: tuple[str, ...] = ()
    environment: Callable[[Device, str | None], Mapping[str, str]] = lambda device, netdev: {}
    before: tuple[str, str] | None = None
    after: tuple[str, str] | None = None
    networked: bool = False
    holds: bool = False


class Record(NamedTuple):
    """How libxl's own record of a domain has devices of a kind.

    Attributes:
        key: of their list.
        name: the key in an entry that tells it from the others.
    """

    key: str
    name: str


class DeviceType:
    """One kind of devices.

    Attributes:
        kind: its name in the store.
        noun: libxl's name for it in function names ("disk").
        label: what a person calls it in a config ("disk", "vif").
        numbering: its numbers in a config; None for a kind that is not in one.
        ring_keys: where a frontend names its ring, the one that it sends into.
        keys: what of the backend's directory, or libxl's copy, makes its half again.
        script: its usual hotplug script; None for a kind without scripts.
        record: its place in libxl's record; None: libxl knows no such kind.
        setting: the field of DomainConfig that has such devices.
        has_handshake: its halves connect through XenbusState.
        keeps_failed: one whose attach failed is still known, half made, as in libxl.
        added_in, launched_in, defaults_in: where libxl says that a device is there already, that
            one of a new domain could not be made, and that its config makes no sense; "" for what
            it never says of such a kind.
    """

    kind: str
    noun: str = ""
    label: str = ""
    numbering: Numbering | None = None
    ring_keys: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    script: UsualScript | None = None
    record: Record | None = None
    setting: str = ""
    has_handshake: bool = True
    keeps_failed: bool = False
    added_in: str = ADD_ASYNC
    launched_in: str = "libxl_create.c:1921:domcreate_attach_devices"
    defaults_in: str = ""

    # -- from the config -----------------------------------------------------------------------

    async def plan(self, toolstack: Toolstack, store: Store, guest: Guest) -> list[Attached]:
        """The devices of a new guest: where each will stand in the store, and with what.

        Raises: ToolstackError in libxl's words.
        """
        return []

    async def planned(
        self, domid: int, number: int, plan: Callable[[], Awaitable[Attached]]
    ) -> Attached:
        """One device of a new guest, planned by *plan*; *number* is what libxl calls it when its
        config makes no sense.  Raises: ToolstackError in libxl's words."""
        try:
            return await plan()
        except ToolstackError as failure:
            raise ToolstackError(
                *failure.lines,
                libxl(
                    f"{self.defaults_in}: Domain {domid}:"
                    f"Unable to set {self.noun} defaults for {self.noun} {number}"
                ),
            ) from None

    def already(self) -> str:
        """libxl's words for a device that is there, "{domid}" for its domain."""
        return already(self.added_in)

    def not_added(self, domid: int) -> str:
        """libxl's words behind the reason why a device of a new domain could not be made."""
        return libxl(f"{self.launched_in}: Domain {domid}:unable to add {self.label} devices")

    def spec(self, attached: Attached) -> object:
        """What a config would say of a device that is there."""
        raise NotImplementedError

    # -- its halves ----------------------------------------------------------------------------

    def root(self, domid: int) -> str:
        """Where libxl keeps its copy of a domain's devices of this kind."""
        return f"{libxl_path(domid)}/device/{self.kind}"

    async def find(self, store: Reader, domid: int, devid: int) -> Device | None:
        """The device of that number; None when there is none."""
        backend = await store.read(f"{self.root(domid)}/{devid}/backend")
        return self.of_backend(domid, devid, backend)

    async def all_of(self, store: Reader, domid: int) -> list[Device]:
        """The devices that libxl's own records have of a domain."""
        root = self.root(domid)
        names = [name for name in await store.children(root) if name.isdecimal()]
        backends = await store.read_many(f"{root}/{name}/backend" for name in names)
        found = (
            self.of_backend(domid, int(name), backend)
            for name, backend in zip(names, backends, strict=True)
        )
        return [device for device in found if device is not None]

    def of_backend(self, domid: int, devid: int, path: str | None) -> Device | None:
        """The device whose backend is at *path*; None when that is no backend's path."""
        parts = (path or "").split("/")
        number = unsigned(parts[3]) if len(parts) > 5 else None
        if number is None or parts[:3] != ["", "local", "domain"]:
            return None
        other = parts[5] if parts[5] != self.kind else ""
        return Device(domid, self.kind, devid, number, other)

    def half_of(self, nodes: Mapping[str, str]) -> Half:
        """From the backend's half, or libxl's copy of it; the opposite of ``backend_nodes``."""
        raise NotImplementedError

    def waited_for(self, device: Device) -> bool:
        """Whether who attaches a device waits for its backend to be in InitWait."""
        return True

    async def may_attach(self, store: Store, attached: Attached) -> None:
        """Raises: ToolstackError in libxl's words: a guest that runs cannot have it now."""

    async def must_be_new(self, store: Store, device: Device) -> None:
        """Raises: ToolstackError in libxl's words: the device is there already."""
        if await store.read(device.libxl) is not None:
            raise ToolstackError(self.already().replace("{domid}", str(device.domid)))

    def entry(self, attached: Attached) -> Tree:
        """A device in libxl's record."""
        backend = attached.device.backend_domid
        return {"backend_domid": backend} if backend else {}
