"""A domain's config as libxl keeps it once the domain is made; what was understood of the config
before is in ``DomainConfig.libxl``.

Pure.  Source: tools/libs/light/libxl_types.idl; which keys are left out when they have their
default: as ``xl list -l`` of a real host (recording 31) has them.
tests/toolstack/test_libxl_json.py compares.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Final

from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.config.libxl_json import Tree, ordered

INVALID_DOMID: Final = 0xFFFF_FFFF
"""A number that is to be chosen when the domain is made; libxl keeps it so."""


def of_dom0() -> Tree:
    """What xen-init-dom0 writes of Domain-0, which nobody has configured."""
    b_info: Tree = {"sched_params": {}, "type.pv": {}, "arch_arm": {}, "arch_x86": {}}
    return {"c_info": {"type": "pv", "name": "Domain-0"}, "b_info": b_info}


def kept(
    config: DomainConfig, uuid: str, kernel: str, devices: Mapping[str, Sequence[Tree]]
) -> Tree:
    """What libxl keeps once a domain is made: what was understood, with libxl's defaults in it,
    and the devices as they were attached.

    Args:
        kernel: what stands for one when the config has a program of ours in its place.
        devices: the lists of them, by their keys.
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
    for key, entries in devices.items():
        whole.pop(key, None)
        if entries:
            whole[key] = list(entries)
    found: Tree = ordered(whole)
    return found


def with_device(whole: Tree, key: str, name: str, entry: Tree, *, gone: bool = False) -> Tree:
    """The same with a device put in, in place of one of its name, or taken out when it is *gone*.

    Args:
        key: of the list it stands in ("disks").
        name: the key in an entry that tells it from the others.
    """
    entries = [one for one in whole.get(key) or [] if one.get(name, 0) != entry[name]]
    if not gone:
        entries.append(entry)
    changed = {one: value for one, value in whole.items() if one != key}
    if not entries:
        return changed
    changed[key] = entries
    found: Tree = ordered(changed)
    return found
