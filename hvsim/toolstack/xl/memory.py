"""xl mem-set, mem-max: what a domain is to use of its memory, and what it may have at most."""

import re
from typing import Final

from hvsim.toolstack.host.errors import ToolstackError, libxl
from hvsim.toolstack.host.nodes import domain_path, write
from hvsim.toolstack.host.store import Store
from hvsim.toolstack.xl.command import Call, Command, find_domain

_SIZE: Final = re.compile(r"([0-9]{1,15})([bkmgt]?)", re.IGNORECASE)
_KIB_SHIFT: Final = {"b": -10, "k": 0, "": 10, "m": 10, "g": 20, "t": 30}
_PAGE_KIB: Final = 4


def size_kib(text: str) -> int:
    """A size of the command line; MiB without a unit.  Raises: ToolstackError in xl's words."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ToolstackError(f"invalid memory size: {text}")
    shift = _KIB_SHIFT[match[2].lower()]
    number = int(match[1])
    return number << shift if shift >= 0 else number >> -shift


async def mem_set(call: Call) -> int:
    """xl mem-set domain size: the guest is told (memory/target); it may do as it likes."""
    domain, text = SET.parse(call).rest[:2]
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, domain)
        wanted = size_kib(text)
        most = await _static_max(call, store, domid)
        if wanted > most:
            raise ToolstackError(
                libxl(
                    f"libxl_mem.c:278:libxl_set_memory_target: Domain {domid}:memory_dynamic_max "
                    "must be less than or equal to memory_static_max"
                ),
                "",
                f"cannot set domid {domid} dynamic max memory to : {text}",
            )
        batch = write(f"{domain_path(domid)}/memory/target", wanted)
        vm = await store.read(f"{domain_path(domid)}/vm")
        if vm and vm.startswith("/vm/"):
            batch += write(f"{vm}/memory", wanted >> 10)
        await store.commit(batch, f"the memory target of domain {domid}")
    return 0


async def mem_max(call: Call) -> int:
    """xl mem-max domain size."""
    domain, text = MAX.parse(call).rest[:2]
    async with call.toolstack.store() as store:
        domid = await find_domain(call, store, domain)
        wanted = size_kib(text)
        if not wanted:
            raise ToolstackError(
                libxl(
                    f"libxl_mem.c:59:libxl_domain_setmaxmem: Domain {domid}:memory_static_max must "
                    "be greater than or or equal to memory_dynamic_max: Success"
                ),
                f"cannot set domid {domid} static max memory to : {text}",
            )
        await _static_max(call, store, domid)
        call.toolstack.hypervisor.max_mem(domid, wanted // _PAGE_KIB)
        await store.write(f"{domain_path(domid)}/memory/static-max", str(wanted))
    return 0


async def _static_max(call: Call, store: Store, domid: int) -> int:
    """KiB that a domain may have.  Raises: ToolstackError for one that there is not."""
    info = call.toolstack.hypervisor.info(domid)
    if info is None:
        raise ToolstackError(f"Error: Domain '{domid}' does not exist.")
    said = await store.read(f"{domain_path(domid)}/memory/static-max")
    return int(said) if said is not None and said.isdecimal() else info.max_pages * _PAGE_KIB


SET = Command("mem-set", mem_set, wanted=2, example="xl mem-set guest 64")
MAX = Command("mem-max", mem_max, wanted=2, example="xl mem-max guest 256m")
COMMANDS = (SET, MAX)
