"""The hotplug part of a vif: what /etc/xen/scripts/vif-bridge does, without the script.

A vif with the usual script is plugged into its bridge by the process that serves it: at once in a
driver domain, which is its own script; in dom0 when the toolstack's part of the script has said
``hotplug-status = connected``.  A vif that names another script is left to that one: it finds a
link, switched off and on no bridge, under the name that netback gives it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hvsim.drivers.net import rate
from hvsim.drivers.net.protocol import ETH_HLEN, VifInfo
from hvsim.drivers.split.numbers import number

if TYPE_CHECKING:
    from hvsim.domain.xenbus.device import BackendDevice

VIF_SCRIPT: Final = "/etc/xen/scripts/vif-bridge"
"""What libxl names unless the config does."""
CONNECTED: Final = "connected"
_VLAN_TAG: Final = 4
_ANY_LENGTH: Final = 65535


def vif_info(device: BackendDevice) -> VifInfo:
    """What the toolstack says of a vif, in its backend's directory."""
    keys = ("frontend-id", "handle", "vifname", "mac", "mtu", "bridge", "script", "rate")
    domid, handle, name, mac, mtu, bridge, script, limit = device.read_many(keys)
    index = number(handle, device.device_id)
    return VifInfo(
        domid=number(domid),
        index=index,
        name=f"vif{number(domid)}.{index}",
        wanted_name=name or "",
        mac=mac or "",
        mtu=number(mtu),
        bridge=bridge or "",
        script=script or "",
        rate=rate.parse(limit),
    )


def usual(info: VifInfo) -> bool:
    """Whether it is for us to plug it in."""
    return info.script in ("", VIF_SCRIPT)


def online(device: BackendDevice, link: Any, info: VifInfo) -> None:
    """The whole of vif-bridge's ``online``, for a domain that runs its own scripts.

    Raises: OSError, ValueError, StoreError.
    """
    plug(link)
    mtu = info.mtu or getattr(link, "mtu", 0)
    if mtu:
        device.store.write(device.otherend_path("mtu"), str(mtu))
    device.write("hotplug-status", CONNECTED)


def failed(device: BackendDevice, text: str) -> None:
    """What a script leaves that could not do its work."""
    device.write("hotplug-error", text)
    device.write("hotplug-status", "error")


def plug(link: Any) -> None:
    """Put the link on its bridge and switch it on, where it can be and nobody has.

    Raises: OSError, ValueError.
    """
    plugging = getattr(link, "plug", None)
    if plugging is not None:
        plugging()


def longest_frame(link: Any) -> int:
    """Bytes of the longest frame that a link takes, a VLAN's tag included."""
    mtu = getattr(link, "mtu", 0)
    return mtu + ETH_HLEN + _VLAN_TAG if mtu else _ANY_LENGTH
