"""What of a disk is refused before anything of it is made, in libxl's words and in ours."""

import errno
import os
import stat
from typing import Final

from hvsim.drivers.block.prepare import HotplugError, prepare
from hvsim.names import vdev
from hvsim.toolstack.config import DiskConfig, DomainConfig
from hvsim.toolstack.devices.numbering import Numbering
from hvsim.toolstack.host.errors import libxl
from hvsim.toolstack.host.refusal import Refusal, because

QDISK: Final = "qdisk"


def _numbers(config: DomainConfig) -> list[tuple[str, int | None]]:
    return [(one.vdev, vdev.parse(one.vdev)) for one in config.disks]


NUMBERING: Final = Numbering(
    "disk",
    "vdev=",
    "libxl_disk.c:343:device_disk_add",
    _numbers,
)


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
        reason = because(failure)
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
