"""The keys of a config that list devices."""

from collections.abc import Callable
from typing import Final

from hvsim.toolstack.config import devices
from hvsim.toolstack.config.disk import DiskConfig, parse_disk
from hvsim.toolstack.config.libxl_json import Tree
from hvsim.toolstack.config.meaning import Meaning
from hvsim.toolstack.config.vif import VifConfig, parse_vif, words_of


def disk(meaning: Meaning) -> None:
    """``disk``.  Raises: ConfigError."""
    for spec in meaning.settings.texts("disk"):
        meaning.disks.append(parse_disk(spec, meaning.settings.source))
    if meaning.disks:
        meaning.put("disks", [disk_tree(disk) for disk in meaning.disks])


def vif(meaning: Meaning) -> None:
    """``vif``.  Raises: ConfigError."""
    for spec in meaning.settings.texts("vif"):
        parsed = parse_vif(words_of(spec), meaning.settings.source)
        meaning.settings.warn(*parsed.said)
        meaning.vifs.append(parsed)
    if meaning.vifs:
        meaning.put("nics", [vif_tree(one.vif, number) for number, one in enumerate(meaning.vifs)])


def device(meaning: Meaning, key: str) -> None:
    """Devices of a kind that this host has no backend for.  Raises: ConfigError."""
    member, reader = devices.READERS[key]
    found = [reader(spec, number) for number, spec in enumerate(meaning.settings.texts(key))]
    if found:
        meaning.put(member, found)


def channel(meaning: Meaning) -> None:
    """``channel``.  Raises: ConfigError."""
    found = []
    for number, spec in enumerate(meaning.settings.texts("channel")):
        channel, said = devices.channel(spec, number)
        meaning.settings.warn(*said)
        found.append(channel)
    if found:
        meaning.put("channels", found)


def vfb(meaning: Meaning) -> None:
    """``vfb``."""
    specs = meaning.settings.texts("vfb")
    if specs:
        meaning.put("vfbs", [devices.vfb(spec, number) for number, spec in enumerate(specs)])
        meaning.put("vkbs", [{"devid": number} for number in range(len(specs))])


def vkb(meaning: Meaning) -> None:
    """``vkb``, behind those of the framebuffers.  Raises: ConfigError."""
    before: list[Tree] = meaning.tree.get("vkbs", [])  # those of the framebuffers
    found = [
        devices.vkb(spec, number)
        for number, spec in enumerate(meaning.settings.texts("vkb"), len(before))
    ]
    if found:
        meaning.put("vkbs", before + found)


def disk_tree(disk: DiskConfig) -> Tree:
    """A disk as libxl keeps it."""
    tree: Tree = {
        "backend_domname": disk.backend,
        "pdev_path": disk.target,
        "vdev": disk.vdev,
        "backend": disk.backendtype,
        "format": disk.format,
        "script": disk.script,
        "removable": int(disk.cdrom),
        "readwrite": int(not disk.readonly),
        "is_cdrom": int(disk.cdrom),
        "direct_io_safe": disk.direct_io_safe or None,
        "discard_enable": None if disk.discard is None else str(disk.discard),
        "specification": disk.specification,
    }
    for name, value in disk.colo:
        tree[name] = str(value) if isinstance(value, bool) else value
    return {name: value for name, value in tree.items() if value not in (None, 0) or value == ""}


def vif_tree(vif: VifConfig, number: int | None = None) -> Tree:
    """An interface as libxl keeps it; *number*: its own, unless it says one."""
    rate = vif.rate or (None, None)
    tree: Tree = {
        "backend_domname": vif.backend,
        "devid": number if vif.devid is None else vif.devid,
        "mtu": vif.mtu or None,
        "model": vif.model,
        "mac": vif.mac,
        "ip": vif.ip,
        "bridge": vif.bridge,
        "ifname": vif.ifname,
        "script": vif.script,
        "nictype": {"vif": "vif", "ioemu": "vif_ioemu"}.get(vif.kind or ""),
        "rate_bytes_per_interval": rate[0] or None,
        "rate_interval_usecs": rate[1],
        "gatewaydev": vif.gatewaydev,
        "coloft_forwarddev": vif.forwarddev,
        "trusted": None if vif.trusted is None else str(vif.trusted),
    }
    return {name: value for name, value in tree.items() if value is not None}


SPECIALS: Final[dict[str, Callable[[Meaning], None]]] = {
    "disk": disk,
    "vif": vif,
    **{key: lambda meaning, key=key: device(meaning, key) for key in devices.READERS},  # type: ignore[misc]
    "channel": channel,
    "vfb": vfb,
    "vkb": vkb,
}
