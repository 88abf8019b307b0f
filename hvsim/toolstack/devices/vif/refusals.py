"""What of a network interface is refused before anything of it is made."""

import re
from typing import Final

from hvsim.names import address, mac
from hvsim.toolstack.config import DomainConfig, VifConfig
from hvsim.toolstack.devices.numbering import ADD_ASYNC, Numbering
from hvsim.toolstack.host.refusal import Refusal

LINK_MAX: Final = 15
"""Bytes of a link's name (IFNAMSIZ - 1)."""
MTU_MIN: Final = 68
MTU_MAX: Final = 65535
_LINK: Final = re.compile(r"[A-Za-z0-9_.:-]{1,15}")


def devids(vifs: tuple[VifConfig, ...]) -> list[int]:
    """The numbers of a guest's interfaces: their places in the list, unless they say so."""
    return [number if vif.devid is None else vif.devid for number, vif in enumerate(vifs)]


def _numbers(config: DomainConfig) -> list[tuple[str, int | None]]:
    return [(str(devid), devid) for devid in devids(config.vifs)]


NUMBERING: Final = Numbering(
    "vif",
    "devid=",
    ADD_ASYNC,
    _numbers,
)


def vif(spec: VifConfig, number: int) -> Refusal | None:
    """What is wrong with an interface."""
    place = f"vif {number}"
    for key, name in (
        ("bridge", spec.bridge),
        ("vifname", spec.ifname),
        ("gatewaydev", spec.gatewaydev),
    ):
        if name is not None and (not _LINK.fullmatch(name) or name in (".", "..")):
            return Refusal(
                place,
                f"{key}={name} is no name for a link",
                f"use 1 to {LINK_MAX} letters, digits, '.', '_', ':' or '-'",
            )
    if spec.mtu and not MTU_MIN <= spec.mtu <= MTU_MAX:
        return Refusal(place, f"mtu={spec.mtu} is out of range", f"use {MTU_MIN} to {MTU_MAX}")
    if spec.mac is not None and mac.is_group(spec.mac):
        return Refusal(
            place,
            f"{spec.mac} is the address of a group, not of an interface",
            "make its first byte even, as in 00:16:3e:00:00:01",
        )
    if spec.rate is not None and not spec.rate[0]:
        return Refusal(
            place,
            "rate= comes to less than a byte in each interval, so nothing would pass",
            "raise it, or leave it out",
        )
    for one in address.of_spec(spec.ip):
        try:
            address.interface(one)
        except ValueError:
            return Refusal(
                place, f"ip={one} is no address", "write it as 10.0.0.2/24, or leave it out"
            )
    return None
