"""What people call a device, and what a person must know of its kind.  Data for whoever only tells;
what the toolstack does with a kind is in ``hvsim.toolstack.devices``."""

from typing import Final, NamedTuple

from hvsim.names import vdev


class Words(NamedTuple):
    """A kind of devices, for people.

    Attributes:
        thing: what it is.
        ring: the keys in which a frontend publishes its ring.
        published: the state that says so.
        scripted: a hotplug script has to finish before its backend connects.
        setting: the key of a domain's table that lists such devices; "" for none.
    """

    thing: str
    ring: str = "ring-ref"
    published: str = "Initialised (3)"
    scripted: bool = False
    setting: str = ""


_WORDS: Final = {
    "vbd": Words("disk", scripted=True, setting="disk"),
    "vif": Words(
        "network card", "tx-ring-ref, rx-ring-ref", "Connected (4)", scripted=True, setting="vif"
    ),
    "vkbd": Words("keyboard"),
    "vfb": Words("screen"),
}

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


def words(kind: str) -> Words:
    """What to say of a kind; of one that is not known what holds for most."""
    return _WORDS.get(kind) or Words(f"{kind} device")


def label(kind: str, number: int) -> str:
    """ "xvda", "eth0", "vrng0"; the number where a disk has no name."""
    if kind == "vif":
        return f"eth{number}"
    if kind != "vbd":
        return f"{kind}{number}"
    name = vdev.name(number)
    return str(number) if name == "?" else name
