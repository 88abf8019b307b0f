"""Virtual network interfaces, as the toolstack handles them (libxl_nic.c)."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Final

from hvsim.names import mac
from hvsim.names.number import unsigned
from hvsim.toolstack.config import VifConfig
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.config.vif import DEFAULT_BRIDGE
from hvsim.toolstack.devices import backend_domain, scripts
from hvsim.toolstack.devices.device_type import DeviceType, Record
from hvsim.toolstack.devices.vif import refusals
from hvsim.toolstack.devices.vif.half import DEFAULT_MTU, SCRIPT, Vif
from hvsim.toolstack.devices.vif.script import VIF_BRIDGE
from hvsim.toolstack.host.context import Toolstack
from hvsim.toolstack.host.device import Attached, Device
from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.store import Store


class Interfaces(DeviceType):
    """The kind "vif"."""

    kind = "vif"
    noun = "nic"
    numbering = refusals.NUMBERING
    label = numbering.label
    ring_keys = ("tx-ring-ref", "queue-0/tx-ring-ref")
    keys = ("mac", "bridge", "script", "vifname", "ip", "gatewaydev", "rate", "mtu")
    script = VIF_BRIDGE
    record = Record("nics", "devid")
    setting = "vifs"
    keeps_failed = True
    defaults_in = "libxl_nic.c:520:libxl__device_nic_set_devids"

    async def plan(self, toolstack: Toolstack, store: Store, guest: Guest) -> list[Attached]:
        """See DeviceType."""
        vifs, domid = guest.config.vifs, guest.domid
        return [
            await self.planned(
                domid, devid, partial(plan, toolstack, store, domid, guest.uuid, devid, config)
            )
            for devid, config in zip(refusals.devids(vifs), vifs, strict=True)
        ]

    def spec(self, attached: Attached) -> VifConfig:
        """See DeviceType."""
        vif = of(attached)
        backend = attached.device.backend_domid
        return VifConfig(
            mac=vif.mac,
            bridge=vif.bridge,
            ip=vif.ip,
            rate=vif.rate,
            backend=str(backend) if backend else None,
            script=vif.script if vif.named else None,
            ifname=vif.ifname,
            mtu=vif.mtu,
            gatewaydev=vif.gatewaydev,
            devid=attached.device.devid,
        )

    def half_of(self, nodes: Mapping[str, str]) -> Vif:
        """See DeviceType."""
        return Vif.of_nodes(nodes)

    def entry(self, attached: Attached) -> Tree:
        """See DeviceType."""
        vif, entry = of(attached), super().entry(attached)
        entry["devid"] = attached.device.devid
        rate = vif.rate or (None, None)
        values = {
            "mtu": vif.mtu if vif.mtu != DEFAULT_MTU else None,
            "mac": vif.mac,
            "ip": vif.ip,
            "bridge": vif.bridge,
            "ifname": vif.ifname,
            "script": vif.own_script,
            "nictype": "vif",
            "rate_bytes_per_interval": rate[0],
            "rate_interval_usecs": rate[1],
            "gatewaydev": vif.gatewaydev,
        }
        return entry | {key: value for key, value in values.items() if value}


INTERFACES: Final = Interfaces()


def of(attached: Attached) -> Vif:
    """The half of a device that is known to be an interface."""
    assert isinstance(attached.half, Vif)
    return attached.half


def made_up_mac(uuid: str, devid: int) -> str:
    """An address that a guest keeps over its lives: drawn from its uuid (libxl draws dice)."""
    digest = hashlib.sha256(f"{uuid}/{devid}".encode()).digest()
    return f"{mac.OUI}:{mac.text_of(bytes([digest[0] & 0x7F, *digest[1:3]]))}"


async def plan(
    toolstack: Toolstack, store: Store, domid: int, uuid: str, devid: int, config: VifConfig
) -> Attached:
    """Where an interface will stand in the store, and what will stand there.

    Raises: ToolstackError in libxl's words.
    """
    refusal = refusals.vif(config, devid)
    if refusal is not None:
        raise refusal.error(domid)
    backend = await backend_domain.find(toolstack, store, config.backend)
    vif = Vif(
        mac=config.mac or made_up_mac(uuid, devid),
        bridge=config.bridge or DEFAULT_BRIDGE,
        script=scripts.absolute(config.script) if config.script else SCRIPT,
        named=config.script is not None,
        ifname=config.ifname,
        ip=config.ip,
        gatewaydev=config.gatewaydev,
        rate=config.rate,
        mtu=config.mtu or DEFAULT_MTU,
    )
    return Attached(Device(domid, INTERFACES.kind, devid, backend), vif)


async def next_number(store: Store, domid: int) -> int:
    """The number after the highest that is taken (libxl__device_nextid)."""
    names = await store.children(INTERFACES.root(domid))
    taken = [number for name in names if (number := unsigned(name)) is not None]
    return max(taken, default=-1) + 1


async def lookup(store: Store, domid: int, text: str) -> Device:
    """The interface that *text*, a number or a MAC address, names; of several with one address the
    first in the order of their numbers, as libxl goes through them.

    Raises: ToolstackError in xl's words.
    """
    root = INTERFACES.root(domid)
    number = unsigned(text)
    if ":" in text:
        number = await _of_mac(store, root, mac.parse(text))
        if number is None:
            raise ToolstackError(f"Unknown device {text}.")
    device = await INTERFACES.find(store, domid, number) if number is not None else None
    if device is None:
        raise ToolstackError(
            libxl(
                "libxl_xshelp.c:206:libxl__xs_read_mandatory: xenstore read failed: "
                f"`{root}/{text}': No such file or directory"
            ),
            f"Unknown device {text}.",
        )
    return device


async def _of_mac(store: Store, root: str, wanted: str | None) -> int | None:
    """The lowest number of an interface with that address below libxl's *root*."""
    numbers = sorted(
        number for name in await store.children(root) if (number := unsigned(name)) is not None
    )
    addresses = await store.read_many(f"{root}/{number}/mac" for number in numbers)
    for number, text in zip(numbers, addresses, strict=True):
        if text is not None and wanted is not None and mac.parse(text) == wanted:
            return number
    return None
