"""A device of a domain: where its halves stand in the store, and what the serving half is told.

What there is to know of a *kind* of devices is in ``hvsim.toolstack.devices``, an object each.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hvsim.toolstack.host.nodes import domain_path, libxl_path


@dataclass(frozen=True, slots=True)
class Device:
    """A split device: who uses it, who serves it, and its number.

    Attributes:
        kind: "vbd", "vif", "console", or that of a declared type.
        backend_kind: what serves it when that is not of the same name: "qdisk" for QEMU.
    """

    domid: int
    kind: str
    devid: int
    backend_domid: int
    backend_kind: str = ""

    @property
    def frontend(self) -> str:
        """The directory of the using half; the first console has a place of its own."""
        if self.kind == "console" and self.devid == 0:
            return f"{domain_path(self.domid)}/console"
        return f"{domain_path(self.domid)}/device/{self.kind}/{self.devid}"

    @property
    def served_as(self) -> str:
        """The kind of its backend."""
        return self.backend_kind or self.kind

    @property
    def backend(self) -> str:
        """The directory of the serving half, in the tree of the serving domain."""
        home = domain_path(self.backend_domid)
        return f"{home}/backend/{self.served_as}/{self.domid}/{self.devid}"

    @property
    def relative_backend(self) -> str:
        """The same as the serving domain itself calls it."""
        return self.backend.removeprefix(f"{domain_path(self.backend_domid)}/")

    @property
    def libxl(self) -> str:
        """libxl's own copy, which no guest can touch."""
        return f"{libxl_path(self.domid)}/device/{self.kind}/{self.devid}"

    @property
    def front_perms(self) -> list[str]:
        """The guest owns its half, the backend may read it."""
        return [f"n{self.domid}", f"r{self.backend_domid}"]

    @property
    def back_perms(self) -> list[str]:
        """The backend owns its half, the guest may read it."""
        return [f"n{self.backend_domid}", f"r{self.domid}"]


class ImageUse(NamedTuple):
    """What a device does with a file of the machine.

    Attributes:
        name: the device's, in the guest.
        shared: others may have the file as well.
    """

    path: str
    name: str
    readonly: bool
    shared: bool


class Half(Protocol):
    """What the toolstack tells the serving half of a device."""

    @property
    def script(self) -> str:
        """Its hotplug script; "" for a kind without."""

    @property
    def named(self) -> bool:
        """Whether the config names the script, so that the program itself is run."""

    @property
    def image(self) -> ImageUse | None:
        """The file that it serves; None without one."""

    def name(self, devid: int) -> str:
        """How the guest calls the device."""

    def frontend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The frontend's directory in libxl's order, behind ``backend``."""

    def backend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The backend's directory in libxl's order, behind ``frontend``."""

    def spoken(self) -> list[tuple[str, str]]:
        """Nodes of the frontend's directory that are the backend's word."""


@dataclass(slots=True)
class Attached:
    """A device that is there: where it stands, and what stands there."""

    device: Device
    half: Half

    @property
    def name(self) -> str:
        """How the guest calls it."""
        return self.half.name(self.device.devid)
