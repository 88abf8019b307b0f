"""A domain's config in libxl's own words: what ``xl list -l`` prints.

Names, their order, and which of them are left out at their default: libxl_types.idl, recordings 31
and 85, and the installed xl (``xl create -n``).
"""

from typing import Any, Final

from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.context import Disk, Guest, Nic
from hvsim.toolstack.hypervisor import DomainInfo
from hvsim.toolstack.layout import BLOCK_SCRIPT, DEFAULT_MTU, VIF_SCRIPT

Tree = dict[str, Any]

INVALID_DOMID: Final = 0xFFFF_FFFF
"""libxl records a config before it knows the number."""
PAGE_KIB: Final = 4
SCHEDULING: Final = {"sched": "credit2", "weight": 256, "cap": 0}


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
