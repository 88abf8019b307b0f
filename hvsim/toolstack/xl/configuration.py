"""A domain's config in libxl's own words: what ``xl list -l`` and ``xl create -n`` print.

Names, their order, and which of them are left out at their default: libxl_types.idl, recordings 31
and 85, and the installed xl (``xl create -n``).
"""

import json
import re
from typing import Any, Final

from hvsim.toolstack.config import DiskConfig, DomainConfig, VifConfig
from hvsim.toolstack.context import Disk, Guest, Nic
from hvsim.toolstack.hypervisor import DomainInfo
from hvsim.toolstack.layout import BLOCK_SCRIPT, DEFAULT_MTU, VIF_SCRIPT

Tree = dict[str, Any]

INVALID_DOMID: Final = 0xFFFF_FFFF
"""libxl records a config before it knows the number."""
PAGE_KIB: Final = 4
SCHEDULING: Final = {"sched": "credit2", "weight": 256, "cap": 0}
_EMPTY: Final = re.compile(r"^( *)(.*)\{\}", re.MULTILINE)


def to_json(tree: Any) -> str:
    """As yajl prints it: four blanks a level, and a blank line in what is empty."""
    return _EMPTY.sub(r"\1\2{\n\n\1}", json.dumps(tree, indent=4, ensure_ascii=False))


def understood(config: DomainConfig) -> Tree:
    """What was understood of a config file."""
    c_info: Tree = {"type": config.type, "name": config.name}
    if config.uuid is not None:
        c_info["uuid"] = config.uuid
    c_info["run_hotplug_scripts"] = "True"
    if config.driver_domain:
        c_info["driver_domain"] = "True"
    b_info = {
        "max_vcpus": config.maxvcpus,
        "avail_vcpus": list(range(config.vcpus)),
        "max_memkb": config.maxmem * 1024,
        "target_memkb": config.memory * 1024,
        "sched_params": {},
        "claim_mode": "True",
        **_images(config),
        "type.pv": {},
        "arch_arm": {},
        "arch_x86": {},
    }
    tree: Tree = {"c_info": c_info, "b_info": b_info}
    if config.disks:
        tree["disks"] = [describe_disk(disk) for disk in config.disks]
    if config.vifs:
        tree["nics"] = [describe_vif(vif, number) for number, vif in enumerate(config.vifs)]
    return tree | _actions(config)


def running(name: str, info: DomainInfo, guest: Guest | None) -> Tree:
    """A domain as it stands."""
    memory = {"max_memkb": info.max_pages * PAGE_KIB, "target_memkb": info.mem_pages * PAGE_KIB}
    if guest is None:
        b_info = {**memory, "sched_params": SCHEDULING, "type.pv": {}}
        return {
            "domid": info.domid,
            "config": {
                "c_info": {"type": "pv", "name": name},
                "b_info": {**b_info, "arch_arm": {}, "arch_x86": {}},
            },
        }
    config = guest.config
    c_info: Tree = {
        "type": "pv",
        "name": name,
        "domid": INVALID_DOMID,
        "uuid": guest.uuid,
        "run_hotplug_scripts": "True",
    }
    if guest.driver:
        c_info["driver_domain"] = "True"
    tree: Tree = {
        "c_info": c_info,
        "b_info": {
            "max_vcpus": config.maxvcpus,
            "avail_vcpus": list(range(config.vcpus)),
            **memory,
            "video_memkb": 0,
            "sched_params": SCHEDULING,
            "claim_mode": "True",
            **_images(config),
            "type.pv": {},
            "arch_arm": {},
            "arch_x86": {"msr_relaxed": "False"},
        },
    }
    if guest.disks:
        tree["disks"] = [_disk(disk) for disk in guest.disks.values()]
    if guest.nics:
        tree["nics"] = [_nic(nic) for nic in guest.nics.values()]
    return {"domid": info.domid, "config": tree | _actions(config)}


def describe_disk(disk: DiskConfig) -> Tree:
    """A disk that a command line or a config asks for."""
    return _set(
        backend_domname=disk.backend,
        pdev_path=disk.target,
        vdev=disk.vdev,
        backend=disk.backendtype,
        format=disk.format,
        script=disk.script,
        removable=int(disk.cdrom) or None,
        readwrite=int(not disk.readonly) or None,
        is_cdrom=int(disk.cdrom) or None,
        discard_enable=None if disk.discard else "False",
    )


def describe_vif(vif: VifConfig, devid: int | None = None) -> Tree:
    """The same of an interface."""
    rate = vif.rate or (None, None)
    return _set(
        backend_domname=vif.backend,
        devid=devid,
        mtu=vif.mtu,
        mac=vif.mac,
        ip=vif.ip,
        bridge=vif.bridge,
        ifname=vif.ifname,
        script=vif.script,
        rate_bytes_per_interval=rate[0],
        rate_interval_usecs=rate[1],
        gatewaydev=vif.gatewaydev,
    )


def _disk(disk: Disk) -> Tree:
    vbd = disk.vbd
    return _set(
        backend_domid=disk.device.backend_domid or None,
        pdev_path=vbd.params,
        vdev=vbd.vdev,
        format=vbd.format,
        script=None if vbd.script == BLOCK_SCRIPT else vbd.script,
        removable=int(vbd.cdrom) or None,
        readwrite=int(not vbd.readonly) or None,
        is_cdrom=int(vbd.cdrom) or None,
        colo_restore_enable="False",
    )


def _nic(nic: Nic) -> Tree:
    vif = nic.vif
    return _set(
        backend_domid=nic.device.backend_domid or None,
        devid=nic.device.devid,
        mtu=None if vif.mtu == DEFAULT_MTU else vif.mtu,
        mac=vif.mac,
        ip=vif.ip,
        bridge=vif.bridge,
        ifname=vif.ifname,
        script=None if vif.script == VIF_SCRIPT else vif.script,
        nictype="vif",
    )


def _images(config: DomainConfig) -> Tree:
    found = _set(kernel=config.kernel, cmdline=config.cmdline or None, ramdisk=config.ramdisk)
    return found


def _actions(config: DomainConfig) -> Tree:
    """What is done at a domain's end, where it is not "destroy"."""
    found: Tree = {
        event: config.actions[event].replace("-", "_")
        for event in ("on_poweroff", "on_reboot", "on_watchdog", "on_crash")
        if config.actions[event] != "destroy"
    }
    return found | {"on_soft_reset": "soft_reset"}


def _set(**members: Any) -> Tree:
    """Those that were said."""
    return {name: value for name, value in members.items() if value is not None}
