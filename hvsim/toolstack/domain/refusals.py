"""What of a guest is refused before anything of it is made: once in libxl's words, for whoever
types ``xl create``, and once as a sentence with a place and a remedy, for `hvsim validate`.

Both ask the same functions, so what one refuses the other refuses.  Files are looked at, nothing is
opened for long and nothing is changed.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hvsim.abi.hypercall import XEN_LEGACY_MAX_VCPUS
from hvsim.drivers.block.hotplug import HotplugError, prepare
from hvsim.names import address, mac, vdev
from hvsim.names import domain as domain_names
from hvsim.toolstack.config import DiskConfig, DomainConfig, VifConfig
from hvsim.toolstack.host.errors import ToolstackError, libxl

LINK_MAX: Final = 15
"""Bytes of a link's name (IFNAMSIZ - 1)."""
MTU_MIN: Final = 68
MTU_MAX: Final = 65535
QDISK: Final = "qdisk"

_LINK: Final = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
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


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be made.

    Attributes:
        place: of what: "disk xvda", "vif 0", or a key.
        text: what is wrong, without the place.
        remedy: what to do.
        lines: libxl's words, "{domid}" for the domain's number; none where libxl has none.
        code: xl's exit code.
    """

    place: str
    text: str
    remedy: str
    lines: tuple[str, ...] = ()
    code: int = 1

    def said(self, domid: int | None = None) -> list[str]:
        """The lines for xl's user."""
        if not self.lines:
            return [f"xl: {self.place}: {self.text}; {self.remedy}"]
        return [line.replace("{domid}", str(domid)) for line in self.lines]

    def error(self, domid: int | None = None) -> ToolstackError:
        """The same as an exception."""
        return ToolstackError(*self.said(domid), code=self.code)


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
        reason = _reason(failure)
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


def _reason(failure: OSError | ValueError) -> str:
    """Why a path leads nowhere; a ValueError is one with a NUL character."""
    return os.strerror(failure.errno or 0) if isinstance(failure, OSError) else str(failure)


# ---- disks -----------------------------------------------------------------------------------


def disk(spec: DiskConfig) -> Refusal | None:
    """What is wrong with a disk whatever its image is."""
    place = f"disk {spec.vdev}"
    if vdev.parse(spec.vdev) is None:
        return Refusal(
            place,
            f"{spec.vdev!r} names no virtual disk",
            "call it xvda, xvdb, ... (xen-vbd-interface(7))",
            (
                libxl(
                    "libxl_disk.c:257:libxl__device_from_disk: Domain {domid}:Invalid or "
                    f"unsupported virtual disk identifier {spec.vdev}"
                ),
            ),
        )
    if not spec.target:
        return Refusal(
            place,
            "it has no image: an empty drive cannot be served",
            "name an image: target=FILE",
            (
                libxl(
                    "libxl_device.c:455:libxl__device_disk_set_backend: Disk "
                    f"vdev={spec.vdev} failed to stat: {spec.target or ''}: "
                    "No such file or directory"
                ),
            ),
        )
    if backendtype(spec) is None:
        return Refusal(
            place,
            f"nothing here serves {_wish(spec)}",
            "leave backendtype= and specification= out; phy serves raw images, QEMU the other "
            "formats",
            (
                libxl(
                    "libxl_device.c:397:libxl__device_disk_set_backend: no suitable backend for "
                    f"disk {spec.vdev}"
                ),
            ),
        )
    return None


def _wish(spec: DiskConfig) -> str:
    words = [f"format={spec.format}"]
    words += [f"backendtype={spec.backendtype}"] if spec.backendtype else []
    words += [f"specification={spec.specification}"] if spec.specification else []
    return " with ".join(words)


def backendtype(spec: DiskConfig) -> str | None:
    """What serves a disk: the first of phy and qdisk that can, when the config leaves it open;
    None when what it names cannot (disk_try_backend).  There is no blktap and no virtio."""
    if spec.specification == "virtio":
        return None
    can = {
        "phy": spec.format == "raw",
        QDISK: spec.script is None and spec.format not in ("empty", "vhd"),
    }
    wanted = [spec.backendtype] if spec.backendtype else list(can)
    return next((kind for kind in wanted if can.get(kind)), None)


def missing(spec: DiskConfig, path: str) -> Refusal | None:
    """Whether the image of a disk is not there, or is none that QEMU could serve."""
    place = f"disk {spec.vdev}"
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as failure:
        reason = _reason(failure)
        gone = getattr(failure, "errno", None) == errno.ENOENT
        return Refusal(
            place,
            f"the image {path} does not exist" if gone else f"the image {path}: {reason}",
            f'create it, or add [[image]] path = "{spec.target}" size = "64M" scratch = true',
            (
                libxl(
                    "libxl_device.c:455:libxl__device_disk_set_backend: Disk "
                    f"vdev={spec.vdev} failed to stat: {path}: {reason}"
                ),
            ),
        )
    # What block scripts look at for phy nobody looks at for QEMU, which would wait for ever.
    if backendtype(spec) == QDISK and not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        what = "a directory" if stat.S_ISDIR(mode) else "neither a file nor a block device"
        return Refusal(
            place,
            f"{path} is {what}",
            "name a file or block device",
            (
                libxl(
                    "libxl_device.c:455:libxl__device_disk_set_backend: Disk "
                    f"vdev={spec.vdev}: {path} is {what}"
                ),
            ),
        )
    return None


def image(spec: DiskConfig, path: str) -> Refusal | None:
    """What is wrong with the image of a disk that dom0 or one of our driver domains serves."""
    place = f"disk {spec.vdev}"
    refusal = missing(spec, path)
    if refusal is not None or spec.script is not None:
        return refusal
    try:
        prepare(path, "r" if spec.readonly else "w")
    except HotplugError as failed:
        return Refusal(
            place,
            str(failed).rstrip("."),
            "name a file or a block device that you may open, or add access=ro",
        )
    return None


def device_numbers(config: DomainConfig) -> Iterator[Refusal]:
    """Two devices of one kind with one number."""
    for kind, what, numbers in (
        ("disk", "vdev=", [(one.vdev, vdev.parse(one.vdev)) for one in config.disks]),
        ("vif", "devid=", [(str(at), at) for at in devids(config.vifs)]),
    ):
        seen: set[int] = set()
        for name, number in numbers:
            if number is None or number not in seen:
                seen |= set() if number is None else {number}
                continue
            yield Refusal(
                f"{kind} {name}",
                f"another {kind} of this guest has this number",
                f"give each a {what} of its own",
                (already(kind),),
            )


def already(kind: str) -> str:
    """libxl's words for a device that is there."""
    source = (
        "libxl_disk.c:343:device_disk_add"
        if kind == "disk"
        else ("libxl_device.c:1931:libxl__device_add_async")
    )
    return libxl(f"{source}: Domain {{domid}}:device already exists in xenstore")


def devids(vifs: tuple[VifConfig, ...]) -> list[int]:
    """The numbers of a guest's interfaces: their places in the list, unless they say so."""
    return [number if vif.devid is None else vif.devid for number, vif in enumerate(vifs)]


# ---- interfaces ------------------------------------------------------------------------------


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
