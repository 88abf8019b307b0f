"""The store nodes of devices as libxl writes them: paths, values, owners, permissions, their order.

Pure, as `layout`: each function returns the requests of one step.  Every one is held against the
recordings of a real host (Xen 4.17.7) by tests/fidelity, but for `move` and `made_here`, which are
this host's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hvsim.drivers import devd
from hvsim.toolstack.domain.layout import directory, domain_path, libxl_path, readable_by, write
from hvsim.xs import requests
from hvsim.xs.requests import Request

BLOCK_SCRIPT: Final = "/etc/xen/scripts/block"
VIF_SCRIPT: Final = "/etc/xen/scripts/vif-bridge"
DEFAULT_MTU: Final = 1500
PROTOCOL: Final = "x86_64-abi"
CONSOLE_LIMIT: Final = 1048576
"""Bytes of console output that a real xenconsoled keeps for a slow reader."""


@dataclass(frozen=True, slots=True)
class Device:
    """A split device: who uses it, who serves it, and its number.

    Attributes:
        kind: "vbd", "vif" or "console".
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
    def backend(self) -> str:
        """The directory of the serving half, in the tree of the serving domain."""
        kind = self.backend_kind or self.kind
        return f"{domain_path(self.backend_domid)}/backend/{kind}/{self.domid}/{self.devid}"

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
    script: str = BLOCK_SCRIPT
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
        readonly, script = not mode.startswith("w"), nodes.get("script", BLOCK_SCRIPT)
        image, colon, _ = params.partition(":")
        return cls(
            params=params,
            vdev=nodes.get("dev", ""),
            script=script,
            named=script != BLOCK_SCRIPT,
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
        return None if self.script == BLOCK_SCRIPT else self.script

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


@dataclass(frozen=True, slots=True)
class Vif:
    """What the store says of a network interface.

    Attributes:
        rate: bytes in an interval, and the interval in microseconds.
        named: the config names the script, so that the program itself is run.
    """

    mac: str
    bridge: str
    script: str = VIF_SCRIPT
    ifname: str | None = None
    ip: str | None = None
    gatewaydev: str | None = None
    rate: tuple[int, int] | None = None
    mtu: int = DEFAULT_MTU
    named: bool = False

    @classmethod
    def of_nodes(cls, nodes: Mapping[str, str]) -> "Vif":
        """From the backend's half or libxl's copy of it; the opposite of :meth:`backend_nodes`."""
        limit, comma, interval = nodes.get("rate", "").partition(",")
        counted = comma and limit.isdecimal() and interval.isdecimal()
        mtu, script = nodes.get("mtu", ""), nodes.get("script", VIF_SCRIPT)
        return cls(
            mac=nodes.get("mac", ""),
            bridge=nodes.get("bridge", ""),
            script=script,
            named=script != VIF_SCRIPT,
            ifname=nodes.get("vifname"),
            ip=nodes.get("ip"),
            gatewaydev=nodes.get("gatewaydev"),
            rate=(int(limit), int(interval)) if counted else None,
            mtu=int(mtu) if mtu.isdecimal() else DEFAULT_MTU,
        )

    @property
    def own_script(self) -> str | None:
        """The script, when it is not the usual one."""
        return None if self.script == VIF_SCRIPT else self.script

    def backend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The backend's half in libxl's order."""
        nodes = [
            ("frontend-id", str(device.domid)),
            ("online", "1"),
            ("state", "1"),
            ("script", self.script),
            ("vifname", self.ifname),
            ("mac", self.mac),
            ("ip", self.ip),
            ("gatewaydev", self.gatewaydev),
            ("rate", None if self.rate is None else f"{self.rate[0]},{self.rate[1]}"),
            ("mtu", None if self.mtu == DEFAULT_MTU else str(self.mtu)),
            ("bridge", self.bridge),
            ("handle", str(device.devid)),
            ("type", "vif"),
            ("hotplug-status", ""),
        ]
        return [(key, value) for key, value in nodes if value is not None]


def add_vbd(device: Device, vbd: Vbd) -> list[Request]:
    """The transaction that makes a virtual disk, both halves at state 1."""
    kind = "cdrom" if vbd.cdrom else "disk"
    perms = device.front_perms
    batch = _libxl_head(device)
    batch += directory(device.frontend, perms)
    batch += write(f"{device.frontend}/backend", device.backend)
    for key, value in (
        ("backend-id", str(device.backend_domid)),
        ("state", "1"),
        ("virtual-device", str(device.devid)),
        ("device-type", kind),
        ("trusted", "1"),
        ("protocol", PROTOCOL),
    ):
        batch += write(f"{device.frontend}/{key}", value, perms)
    nodes = vbd.backend_nodes(device)
    return batch + _backend(device, nodes) + _libxl_copy(device, nodes)


def add_vif(device: Device, vif: Vif) -> list[Request]:
    """The transaction that makes a network interface, both halves at state 1."""
    perms = device.front_perms
    batch = _libxl_head(device)
    batch += directory(device.frontend, perms)
    batch += write(f"{device.frontend}/backend", device.backend)
    for key, value in (
        ("backend-id", str(device.backend_domid)),
        ("state", "1"),
        ("handle", str(device.devid)),
        ("mac", vif.mac),
        ("trusted", "1"),
    ):
        batch += write(f"{device.frontend}/{key}", value, perms)
    batch += write(f"{device.frontend}/mtu", vif.mtu, device.back_perms)
    nodes = vif.backend_nodes(device)
    return batch + _backend(device, nodes) + _libxl_copy(device, nodes)


def add_console(device: Device, port: int, gfn: int) -> list[Request]:
    """The transaction of the first console, which xenconsoled serves."""
    reader = readable_by(device.domid)
    batch = _libxl_head(device)
    batch += directory(device.frontend, reader)
    batch += write(f"{device.frontend}/backend", device.backend)
    batch += write(f"{device.frontend}/backend-id", device.backend_domid, device.front_perms)
    for key, value in (
        ("limit", str(CONSOLE_LIMIT)),
        ("type", "xenconsoled"),
        ("output", "pty"),
        ("tty", ""),
        ("port", str(port)),
        ("ring-ref", str(gfn)),
    ):
        batch += write(f"{device.frontend}/{key}", value, reader)
    nodes = [
        ("frontend-id", str(device.domid)),
        ("online", "1"),
        ("state", "1"),
        ("protocol", "vt100"),
    ]
    return batch + _backend(device, nodes) + _libxl_copy(device, nodes)


def device_model_path(domid: int) -> str:
    """Where the QEMU of a guest says how it is; in the tree of dom0, which it runs in."""
    return f"{domain_path(0)}/device-model/{domid}"


def made_here(device: Device) -> list[Request]:
    """Say to a driver domain that this toolstack has made the device: `hvsim.drivers.devd`."""
    key, ours = devd.MAKER
    return write(f"{device.backend}/{key}", ours) if device.backend_domid else []


def move(old: Device, new: Device, half: Vbd | Vif, keys: Sequence[str]) -> list[Request]:
    """The transaction that gives a device to another backend while its frontend lives on.

    Real libxl cannot do this (surprise 42 of a real host: nothing reconnects by itself); it is
    the recovery protocol of this host.  The backend's half is made as at an attach, the
    frontend's names the new backend and goes back to state 1, everything else of it stays.
    *new* is *old* when only the program behind the backend is another one.

    Args:
        keys: what the frontend's directory holds.  A node keeps its permissions when it is
            written again, so each must be opened to the new backend, and closed to the old one.
    """
    perms = new.front_perms
    nodes = half.backend_nodes(new)
    batch = [requests.rm(old.backend), *_backend(new, nodes), *made_here(new)]
    batch += write(f"{new.libxl}/backend", new.backend)
    batch.append(requests.set_perms(new.frontend, perms))
    batch += [requests.set_perms(f"{new.frontend}/{key}", perms) for key in keys if key != "mtu"]
    if isinstance(half, Vif):  # the backend's word: it went with the domain that owned it
        batch += write(f"{new.frontend}/mtu", half.mtu, new.back_perms)
    batch += write(f"{new.frontend}/backend-id", new.backend_domid)
    batch += write(f"{new.frontend}/state", 1)
    # Last, so that whoever is told of it finds the rest in place.
    return batch + write(f"{new.frontend}/backend", new.backend)


def close(device: Device, *, connected: bool) -> list[Request]:
    """Ask the backend to end: online = 0, and Closing unless it is Closed already."""
    batch = write(f"{device.backend}/online", 0)
    return batch + write(f"{device.backend}/state", 5) if connected else batch


def _libxl_head(device: Device) -> list[Request]:
    path = device.libxl
    return [
        requests.rm(path),
        *write(f"{path}/frontend", device.frontend),
        *write(f"{path}/backend", device.backend),
    ]


def _backend(device: Device, nodes: list[tuple[str, str]]) -> list[Request]:
    batch = directory(device.backend, device.back_perms)
    batch += write(f"{device.backend}/frontend", device.frontend)
    for key, value in nodes:
        batch += write(f"{device.backend}/{key}", value)
    return batch


def _libxl_copy(device: Device, nodes: list[tuple[str, str]]) -> list[Request]:
    batch: list[Request] = []
    for key, value in nodes:
        batch += write(f"{device.libxl}/{key}", value)
    return batch
