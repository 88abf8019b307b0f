"""What of a guest is refused before anything of it is made: once in libxl's words, for whoever
types ``xl create``, and once as a sentence with a place and a remedy, for `hvsim validate`.

Both ask the same functions, so what one refuses the other refuses.  Files are looked at, nothing is
opened for long and nothing is changed.
"""

import os
from collections.abc import Iterator
from typing import Final

from hvsim.abi.hypercall import XEN_LEGACY_MAX_VCPUS
from hvsim.names import domain as domain_names
from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.host.errors import libxl
from hvsim.toolstack.host.refusal import Refusal, because

_ELF: Final = b"\x7fELF"
_GZIP: Final = b"\x1f\x8b"
_BZIMAGE: Final = (0x202, b"HdrS")
_NO_HAP: Final = (
    libxl(
        "libxl_create.c:46:libxl__domain_create_info_setdefault: neither hap nor shadow paging "
        "available"
    ),
    libxl(
        "libxl_create.c:1143:libxl__domain_config_setdefault: Unable to set domain create info "
        "defaults"
    ),
)


def before_domain(config: DomainConfig) -> Iterator[Refusal]:
    """What stands in the way of a guest before its domain is made."""
    if config.type != "pv":
        yield Refusal(
            "type",
            f"a guest of type {config.type} cannot run: this machine has neither hap nor shadow "
            "paging",
            'write type = "pv", and program = "module:function" for what it runs',
            _NO_HAP,
            6,
        )
    unfit = domain_names.unfit(config.name)
    if unfit is not None:
        yield Refusal("name", *unfit)
    memory = config.settings.number("memory", quiet=True)
    if memory is not None and memory <= 0:
        yield Refusal("memory", f"{memory} MiB is no memory", "give it a number of MiB, as 64")
    if config.maxvcpus > XEN_LEGACY_MAX_VCPUS:
        yield Refusal(
            "vcpus",
            f"{config.maxvcpus} virtual CPUs are more than a domain can have",
            f"give it at most {XEN_LEGACY_MAX_VCPUS}",
            (
                libxl(
                    "libxl_create.c:695:libxl__domain_make: domain creation fail: Invalid argument"
                ),
                libxl("libxl_create.c:1296:initiate_domain_create: cannot make domain: -3"),
            ),
            3,
        )


def kernel(config: DomainConfig) -> Refusal | None:
    """A config without a program names a kernel, which must at least be one."""
    if config.program is not None or config.kernel is None:
        return None
    failed = libxl(
        "libxl_create.c:1640:domcreate_rebuild_done: Domain {domid}:cannot (re-)build domain: -3"
    )
    remedy = 'name what is to run in its place: program = "module:function"'
    try:
        with open(config.kernel, "rb", opener=_at_once) as file:
            head = file.read(0x210)
    except (OSError, ValueError) as failure:
        reason = because(failure)
        return Refusal(
            "kernel",
            f"{config.kernel}: {reason}",
            remedy,
            (
                f"xc: error: panic: xg_dom_core.c:205: failed to open file '{config.kernel}': "
                f"{reason}: Internal error",
                libxl(f"libxl_dom.c:646:libxl__build_pv: xc_dom_kernel_file failed: {reason}"),
                failed,
            ),
        )
    offset, magic = _BZIMAGE
    if head.startswith((_ELF, _GZIP)) or head[offset : offset + 4] == magic:
        return None
    return Refusal(
        "kernel",
        f"{config.kernel} is no kernel",
        remedy,
        (
            "xc: error: panic: xg_dom_core.c:689: xc_dom_find_loader: no loader found: "
            "Invalid kernel",
            libxl("libxl_dom.c:571:libxl__build_dom: xc_dom_parse_image failed"),
            failed,
        ),
    )


def _at_once(path: str, flags: int) -> int:
    """Nobody waits for the other end of a pipe that was named as a kernel."""
    return os.open(path, flags | os.O_NONBLOCK)
