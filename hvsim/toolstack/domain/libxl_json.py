"""A domain's config as libxl keeps it once the domain is made; what was understood of the config
before is in ``DomainConfig.libxl``.

Pure.  Source: tools/libs/light/libxl_types.idl; which keys are left out when they have their
default: as ``xl list -l`` of a real host (recording 31) has them.
tests/toolstack/test_libxl_json.py compares.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from hvsim.toolstack.config.libxl_json import ordered
from hvsim.toolstack.devices.layout import DEFAULT_MTU

if TYPE_CHECKING:
    from hvsim.toolstack.config import DomainConfig
    from hvsim.toolstack.host.context import Disk, Nic

INVALID_DOMID: Final = 0xFFFF_FFFF
"""A number that is to be chosen when the domain is made; libxl keeps it so."""

Json = dict[str, Any]


def of_dom0() -> Json:
    """What xen-init-dom0 writes of Domain-0, which nobody has configured."""
    b_info: Json = {"sched_params": {}, "type.pv": {}, "arch_arm": {}, "arch_x86": {}}
    return {"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": b_info}


def kept(config: DomainConfig, uuid: str, kernel: str, disks: list[Disk], nics: list[Nic]) -> Json:
    """What libxl keeps once a domain is made: what was understood, with libxl's defaults in it,
    and the devices as they were attached.

    Args:
        kernel: what stands for one when the config has a program of ours in its place.
    """
    whole = copy.deepcopy(config.libxl)
    c_info, b_info = whole["c_info"], whole["b_info"]
    c_info |= {"name": config.name, "domid": INVALID_DOMID, "uuid": uuid}
    b_info |= {
        "max_vcpus": config.maxvcpus,
        "avail_vcpus": list(range(config.vcpus)),
        "max_memkb": config.maxmem * 1024,
        "target_memkb": config.memory * 1024,
        "video_memkb": 0,
        "arch_x86": {**b_info.get("arch_x86", {}), "msr_relaxed": "False"},
    }
    b_info.setdefault("kernel", kernel)
    for key, entries in (("disks", map(disk_kept, disks)), ("nics", map(nic_kept, nics))):
        whole.pop(key, None)
        listed = list(entries)
        if listed:
            whole[key] = listed
    found: Json = ordered(whole)
    return found


def disk_kept(disk: Disk) -> Json:
    """An attached disk."""
    device, vbd = disk.device, disk.vbd
    entry: Json = {"backend_domid": device.backend_domid} if device.backend_domid else {}
    entry["pdev_path"] = vbd.target
    entry["vdev"] = vbd.vdev
    if vbd.backendtype != "phy":
        entry["backend"] = vbd.backendtype
    entry["format"] = vbd.format
    if vbd.own_script:
        entry["script"] = vbd.own_script
    entry |= _disk_flags(vbd.readonly, vbd.cdrom)
    if not vbd.discard:
        entry["discard_enable"] = "False"
    return entry | {"colo_restore_enable": "False"}


def nic_kept(nic: Nic) -> Json:
    """An attached network interface."""
    device, vif = nic.device, nic.vif
    entry: Json = {"backend_domid": device.backend_domid} if device.backend_domid else {}
    entry["devid"] = device.devid
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


def with_device(whole: Json, kind: str, key: object, entry: Json | None) -> Json:
    """The same with a device put in, in place of one of its name, or taken out.

    Args:
        kind: "disks" or "nics".
        key: the ``vdev`` of a disk, the ``devid`` of a network interface.
        entry: None to take it out.
    """
    name = "vdev" if kind == "disks" else "devid"
    entries = [one for one in whole.get(kind) or [] if one.get(name, 0) != key]
    if entry is not None:
        entries.append(entry)
    changed = {one: value for one, value in whole.items() if one != kind}
    if not entries:
        return changed
    changed[kind] = entries
    found: Json = ordered(changed)
    return found


def _disk_flags(readonly: bool, cdrom: bool) -> Json:
    entry: Json = {}
    if cdrom:
        entry["removable"] = 1
    if not readonly:
        entry["readwrite"] = 1
    if cdrom:
        entry["is_cdrom"] = 1
    return entry
