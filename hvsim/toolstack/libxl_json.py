"""A domain's config as libxl keeps it: the JSON of ``libxl_domain_config``.

Pure.  Source: tools/libs/light/libxl_types.idl; order of keys, and which of them are left out when
they have their default, as the real ``xl create -n -d`` prints them and ``xl list -l`` of a real
host (recording 31) has them.  tests/toolstack/test_libxl_json.py compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hvsim.toolstack.layout import DEFAULT_MTU

if TYPE_CHECKING:
    from hvsim.toolstack.config import DiskConfig, DomainConfig, VifConfig
    from hvsim.toolstack.context import Disk, Nic

INVALID_DOMID: Final = 0xFFFF_FFFF
"""A number that is to be chosen when the domain is made; libxl keeps it so."""
_DEFAULT_ACTION: Final = "destroy"
_ACTIONS: Final = ("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset")
_LIBXLS: Final = {"rename-restart": "restart_rename"}
"""What libxl calls otherwise than xl.cfg."""

Json = dict[str, Any]


def understood(config: DomainConfig, kernel: str | None = None) -> Json:
    """What xl understood of a config file (``xl create -n -d``), but for a uuid that it drew; with
    libxl's defaults for memory and vCPUs.

    Args:
        kernel: what stands for one when the config has a program of ours in its place.
    """
    c_info: Json = {"type": config.type, "name": config.name}
    if config.uuid is not None:
        c_info["uuid"] = config.uuid
    c_info["run_hotplug_scripts"] = "True"
    if config.driver_domain:
        c_info["driver_domain"] = "True"
    b_info: Json = {
        "max_vcpus": config.maxvcpus,
        "avail_vcpus": list(range(config.vcpus)),
        "max_memkb": config.maxmem * 1024,
        "target_memkb": config.memory * 1024,
        "sched_params": {},
        "claim_mode": "True",
    }
    texts = {
        "kernel": config.kernel or kernel,
        "cmdline": config.cmdline,
        "ramdisk": config.ramdisk,
    }
    b_info.update((key, value) for key, value in texts.items() if value)
    b_info.update({"type.pv": {}, "arch_arm": {}, "arch_x86": {}})
    whole: Json = {"c_info": c_info, "b_info": b_info}
    if config.disks:
        whole["disks"] = [disk_understood(disk) for disk in config.disks]
    if config.vifs:
        whole["nics"] = [nic_understood(vif, devid) for devid, vif in enumerate(config.vifs)]
    whole.update(_actions(config))
    return whole


def _actions(config: DomainConfig) -> Json:
    chosen = {**config.actions, "on_soft_reset": "soft_reset"}
    named = ((key, _LIBXLS.get(chosen[key], chosen[key].replace("-", "_"))) for key in _ACTIONS)
    return {key: value for key, value in named if value != _DEFAULT_ACTION}


def disk_understood(disk: DiskConfig) -> Json:
    """One of ``disks``, as its specification was understood."""
    entry: Json = {}
    if disk.backend is not None:
        entry["backend_domname"] = disk.backend
    entry["pdev_path"] = disk.target
    entry["vdev"] = disk.vdev
    if disk.backendtype:
        entry["backend"] = disk.backendtype
    entry["format"] = disk.format
    if disk.script:
        entry["script"] = disk.script
    return entry | _disk_flags(disk.readonly, disk.cdrom)


def _disk_flags(readonly: bool, cdrom: bool) -> Json:
    entry: Json = {}
    if cdrom:
        entry["removable"] = 1
    if not readonly:
        entry["readwrite"] = 1
    if cdrom:
        entry["is_cdrom"] = 1
    return entry


def nic_understood(vif: VifConfig, devid: int) -> Json:
    """One of ``nics``, as its specification was understood."""
    entry: Json = {} if vif.backend is None else {"backend_domname": vif.backend}
    entry["devid"] = devid
    if vif.mtu:
        entry["mtu"] = vif.mtu
    rate = vif.rate or (None, None)
    values = {
        "mac": vif.mac,
        "ip": vif.ip,
        "bridge": vif.bridge,
        "ifname": vif.ifname,
        "script": vif.script,
        "rate_bytes_per_interval": rate[0],
        "rate_interval_usecs": rate[1],
        "gatewaydev": vif.gatewaydev,
    }
    return entry | {key: value for key, value in values.items() if value}


def of_dom0() -> Json:
    """What xen-init-dom0 writes of Domain-0, which nobody has configured."""
    b_info: Json = {"sched_params": {}, "type.pv": {}, "arch_arm": {}, "arch_x86": {}}
    return {"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": b_info}


# ---- what is kept of a domain that was made -----------------------------------------------------


def kept(config: DomainConfig, uuid: str, kernel: str, disks: list[Disk], nics: list[Nic]) -> Json:
    """What libxl keeps once a domain is made: what was understood, with libxl's defaults in it,
    and the devices as they were attached."""
    whole = understood(config, kernel)
    c_info, b_info = whole["c_info"], whole["b_info"]
    whole["c_info"] = {
        "type": c_info["type"],
        "name": c_info["name"],
        "domid": INVALID_DOMID,
        "uuid": uuid,
        **{key: c_info[key] for key in ("run_hotplug_scripts", "driver_domain") if key in c_info},
    }
    filled: Json = {}
    for key, value in b_info.items():
        filled[key] = value
        if key == "target_memkb":
            filled["video_memkb"] = 0
    filled["arch_x86"] = {"msr_relaxed": "False"}
    whole["b_info"] = filled
    for key, entries in (("disks", map(disk_kept, disks)), ("nics", map(nic_kept, nics))):
        whole.pop(key, None)
        listed = list(entries)
        if listed:
            whole[key] = listed
    return _actions_last(whole)


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
    return _actions_last(changed)


def _actions_last(whole: Json) -> Json:
    """What is done at a domain's end stands at the end."""
    others = {key: value for key, value in whole.items() if key not in _ACTIONS}
    return others | {key: whole[key] for key in _ACTIONS if key in whole}
