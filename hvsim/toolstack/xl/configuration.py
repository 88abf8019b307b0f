"""A domain's config in libxl's own words: what ``xl list -l`` prints.

Names, their order, and which of them are left out at their default: libxl_types.idl, recordings 31
and 85, and the installed xl (``xl create -n``).
"""

from dataclasses import replace
from typing import Final

from hvsim.toolstack.config.libxl_json import Tree, ordered
from hvsim.toolstack.devices.attached import recorded
from hvsim.toolstack.domain.create import kernel_of
from hvsim.toolstack.host.guest import Guest
from hvsim.toolstack.host.hypervisor import DomainInfo
from hvsim.toolstack.host.libxl_record import kept

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
    config = replace(guest.config, name=name)
    tree = kept(config, guest.uuid, kernel_of(guest), recorded(guest))
    tree["b_info"] |= {**memory, "sched_params": SCHEDULING}
    if guest.driver:
        tree["c_info"]["driver_domain"] = "True"
    return {"domid": info.domid, "config": ordered(tree)}
