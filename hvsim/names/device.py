"""What people call a device: by its kind and its number."""

from typing import Final

from hvsim.names import vdev

SILENT: Final = frozenset({"console", "vkbd", "vfb"})
"""Kinds whose halves do not connect through XenbusState: the first console has no handshake, and
nobody here serves the other two."""
OF_XEN: Final = frozenset(
    {
        *("vbd", "vif", "console", "vkbd", "vfb", "qdisk", "tap", "vbd3", "9pfs", "pvcalls"),
        *("pci", "vtpm", "vusb", "qusb", "vscsi", "vdispl", "vsnd", "virtio", "vtpm2", "suspend"),
        *("channel", "p9", "vif2", "netfront", "blktap", "device-model", "extra"),
    }
)
"""Names that Xen's toolstack, drivers and documents use for kinds of devices."""


def label(kind: str, number: int) -> str:
    """ "xvda", "eth0", "vrng0"; the number where a disk has no name."""
    if kind == "vif":
        return f"eth{number}"
    if kind != "vbd":
        return f"{kind}{number}"
    name = vdev.name(number)
    return str(number) if name == "?" else name
