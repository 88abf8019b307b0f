"""What the store says of a network interface."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hvsim.names import device as names
from hvsim.toolstack.host.device import Device

SCRIPT: Final = "/etc/xen/scripts/vif-bridge"
DEFAULT_MTU: Final = 1500


@dataclass(frozen=True, slots=True)
class Vif:
    """What the store says of a network interface.

    Attributes:
        rate: bytes in an interval, and the interval in microseconds.
        named: the config names the script, so that the program itself is run.
    """

    mac: str
    bridge: str
    script: str = SCRIPT
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
        mtu, script = nodes.get("mtu", ""), nodes.get("script", SCRIPT)
        return cls(
            mac=nodes.get("mac", ""),
            bridge=nodes.get("bridge", ""),
            script=script,
            named=script != SCRIPT,
            ifname=nodes.get("vifname"),
            ip=nodes.get("ip"),
            gatewaydev=nodes.get("gatewaydev"),
            rate=(int(limit), int(interval)) if counted else None,
            mtu=int(mtu) if mtu.isdecimal() else DEFAULT_MTU,
        )

    @property
    def own_script(self) -> str | None:
        """The script, when it is not the usual one."""
        return None if self.script == SCRIPT else self.script

    @property
    def image(self) -> None:
        """It serves no file."""

    def name(self, devid: int) -> str:
        """How the guest calls it."""
        return names.label("vif", devid)

    def frontend_nodes(self, device: Device) -> list[tuple[str, str]]:
        """The frontend's half in libxl's order."""
        return [
            ("backend-id", str(device.backend_domid)),
            ("state", "1"),
            ("handle", str(device.devid)),
            ("mac", self.mac),
            ("trusted", "1"),
        ]

    def spoken(self) -> list[tuple[str, str]]:
        """The largest packet, as the backend's domain has it."""
        return [("mtu", str(self.mtu))]

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
