"""What the store says of a virtual disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.host.device import Device, ImageUse

SCRIPT: Final = "/etc/xen/scripts/block"
PROTOCOL: Final = "x86_64-abi"


@dataclass(frozen=True, slots=True)
class Vbd:
    """What the store says of a virtual disk.

    Attributes:
        params: the image; for QEMU its format as well ("qcow2:/images/a.qcow2").
        vdev: its name in the guest.
        shared: whether others may have the image as well.
        backendtype: "phy", or "qdisk", which has no hotplug script.
        named: the config names the script, so that the program itself is run.
    """

    params: str
    vdev: str
    script: str = SCRIPT
    readonly: bool = False
    shared: bool = False
    cdrom: bool = False
    discard: bool = True
    backendtype: str = "phy"
    format: str = "raw"
    named: bool = False

    @classmethod
    def of_nodes(cls, nodes: Mapping[str, str]) -> "Vbd":
        """From the backend's half or libxl's copy of it; the opposite of :meth:`backend_nodes`."""
        kind, params = nodes.get("type", "phy"), nodes.get("params", "")
        mode = nodes.get("mode", "r")
        readonly, script = not mode.startswith("w"), nodes.get("script", SCRIPT)
        image, colon, _ = params.partition(":")
        return cls(
            params=params,
            vdev=nodes.get("dev", ""),
            script=script,
            named=script != SCRIPT,
            readonly=readonly,
            shared=mode == "w!",
            cdrom=nodes.get("device-type") == "cdrom",
            discard=readonly or nodes.get("discard-enable", "1") == "1",
            backendtype=kind,
            format="raw" if kind == "phy" or not colon or image == "aio" else image,
        )

    @property
    def target(self) -> str:
        """The image alone."""
        return self.params.partition(":")[2] if self.backendtype == "qdisk" else self.params

    @property
    def own_script(self) -> str | None:
        """The script, when it is not the usual one."""
        return None if self.script == SCRIPT else self.script

    @property
    def image(self) -> ImageUse:
        """The file that it serves."""
        return ImageUse(self.target, self.vdev, self.readonly, self.shared)

    def name(self, devid: int) -> str:
        """How the guest calls it."""
        return self.vdev

    def frontend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The frontend's half in libxl's order."""
        return [
            ("backend-id", str(device.backend_domid)),
            ("state", "1"),
            ("virtual-device", str(device.devid)),
            ("device-type", "cdrom" if self.cdrom else "disk"),
            ("trusted", "1"),
            ("protocol", PROTOCOL),
        ]

    def spoken(self) -> list[tuple[str, str]]:
        """Nothing of the frontend's half is the backend's word."""
        return []

    def backend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The backend's half in libxl's order."""
        script = [("script", self.script)] if self.backendtype == "phy" else []
        return [
            ("params", self.params),
            *script,
            ("frontend-id", str(device.domid)),
            ("online", "1"),
            ("removable", str(int(self.cdrom))),
            ("bootable", "1"),
            ("state", "1"),
            ("dev", self.vdev),
            ("type", self.backendtype),
            ("mode", "r" if self.readonly else "w!" if self.shared else "w"),
            ("device-type", "cdrom" if self.cdrom else "disk"),
            ("discard-enable", str(int(self.discard and not self.readonly))),
            ("specification", "xen"),
        ]
