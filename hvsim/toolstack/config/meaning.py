"""What a config means: libxl_domain_config, from the settings, in xl's order.

The order decides which of several faults is told, and behind which warnings.  Source: xl.cfg(5);
texts and the rest from the installed xl, which tests/config compares with this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from hvsim.names.machine import parse_uuid
from hvsim.toolstack.config import affinity, devices, hvm, passing
from hvsim.toolstack.config.disk import DiskConfig, parse_disk
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.keys import BY_NAME, KEYS, Key
from hvsim.toolstack.config.libxl_json import Tree, put, skeleton
from hvsim.toolstack.config.settings import Settings
from hvsim.toolstack.config.vif import ParsedVif, VifConfig, parse_vif, words_of

ACTIONS: Final = {
    "destroy": "destroy",
    "restart": "restart",
    "rename-restart": "restart_rename",
    "preserve": "preserve",
    "coredump-destroy": "coredump_destroy",
    "coredump-restart": "coredump_restart",
    "soft-reset": "soft_reset",
}
"""A config's word -> libxl's."""
DEFAULT_ACTIONS: Final = {
    "on_poweroff": "destroy",
    "on_reboot": "restart",
    "on_watchdog": "destroy",
    "on_crash": "destroy",
    "on_soft_reset": "soft-reset",
}
_PVGRUB: Final = "/usr/lib/xen-4.17/boot/{}.bin"


@dataclass(frozen=True, slots=True)
class Host:
    """What of the host a config's meaning depends on.

    Attributes:
        cpus: how many there are, all of them in one NUMA node.
    """

    cpus: int = 4


class Meaning:
    """One reading of one config.

    Attributes:
        tree: libxl_domain_config.
        kind: "pv", "pvh" or "hvm".
        disks, vifs: as parsed.
        program: ours: what runs in place of a kernel.
        actions: on_* -> the config's word.
    """

    def __init__(
        self, settings: Settings, host: Host, program: str | None, fallback: str | None
    ) -> None:
        self.settings = settings
        self.host = host
        self.program = program or settings.text("program", quiet=True) or fallback
        self.kind = "pv"
        self.tree: Tree = {}
        self.disks: list[DiskConfig] = []
        self.vifs: list[ParsedVif] = []
        self.actions: dict[str, str] = {}
        self.pci_flags: Tree = {}

    def read(self) -> None:
        """Read every key that counts for this type of guest.  Raises: ConfigError."""
        try:
            self._type()
            said = self.settings.values
            for key in KEYS:
                # A special key may be about several, or about what was not said.
                if self.kind in key.guests and (key.kind == "special" or key.name in said):
                    self._key(key)
        except ConfigError as error:
            before = (*self.settings.warnings, *error.warnings)
            raise ConfigError(
                *error.faults, code=error.code, warnings=before, unsaid=error.unsaid
            ) from None

    def fail(self, *lines: str) -> NoReturn:
        """Refuse."""
        raise ConfigError(*lines)

    def put(self, path: str, value: object) -> None:
        """Set a member of the tree."""
        put(self.tree, path, value)

    def _key(self, key: Key) -> None:
        if key.kind == "special":
            special = SPECIALS.get(key.name)
            if special is not None:
                special(self)
            return
        value: object
        if key.kind == "text":
            value = self.settings.text(key.name)
        elif key.kind == "flag":
            flag = self.settings.flag(key.name)
            value = None if flag is None else str(flag)
        else:
            number = self.settings.number(key.name)
            value = None if number is None else (number * key.scale) % (1 << key.width)
            if number is not None and key.default is not None:
                value = None if number == key.default else value
        if value is not None:
            self.put(key.path, value)

    # -- the guest ---------------------------------------------------------------------------

    def _type(self) -> None:
        kind, builder = self.settings.text("type"), self.settings.text("builder")
        if kind is not None and kind not in ("pv", "pvh", "hvm"):
            self.fail(f"Invalid domain type {kind}.")
        if builder is not None and builder not in ("generic", "hvm"):
            self.fail(f"Invalid domain type {builder}.")
        built = {"generic": "pv", "hvm": "hvm"}.get(builder or "")
        if kind and built and kind != built:
            self.fail('Contradicting "builder" and "type" options specified.')
        self.kind = kind or built or "pv"
        self.tree = skeleton(self.kind)
        self.put("c_info/run_hotplug_scripts", "True")
        self.put("b_info/claim_mode", "True")

    def seclabels(self) -> None:
        initial, label = self.settings.text("init_seclabel"), self.settings.text("seclabel")
        if initial is not None or label is not None:
            self.put("c_info/ssid_label", initial if initial is not None else label)
        if initial is not None and label is not None:
            self.put("b_info/exec_ssid_label", label)

    def name(self) -> None:
        name = self.settings.text("name")
        if name is None:
            self.fail("Domain name must be specified.")
        self.put("c_info/name", name)

    def uuid(self) -> None:
        text = self.settings.text("uuid")
        if text is not None:
            uuid = parse_uuid(text)
            if uuid is None:
                self.fail(f"Failed to parse UUID: {text}")
            self.put("c_info/uuid", uuid)

    def memory(self) -> None:
        memory = self.settings.number("memory")
        if memory is not None:
            self.put("b_info/max_memkb", memory * 1024 % (1 << 64))
            self.put("b_info/target_memkb", memory * 1024 % (1 << 64))

    def maxmem(self) -> None:
        maxmem = self.settings.number("maxmem")
        if maxmem is not None:
            self.put("b_info/max_memkb", maxmem * 1024 % (1 << 64))

    def vcpus(self) -> None:
        vcpus = self.settings.number("vcpus")
        if vcpus is not None:
            if vcpus < 0:
                self.fail(
                    "libxl: error: libxl_utils.c:809:libxl_cpu_bitmap_alloc: invalid number of "
                    "cpus provided",
                    "Unable to allocate cpumap",
                )
            if vcpus > affinity.MAX_VCPUS:
                self.fail("xl: maxvcpus < vcpus")
            if vcpus:
                self.put("b_info/max_vcpus", vcpus)
                self.put("b_info/avail_vcpus", list(range(vcpus)))

    def maxvcpus(self) -> None:
        number = self.settings.number("maxvcpus")
        vcpus = len(self.tree["b_info"].get("avail_vcpus", ()))
        if number is not None:
            number %= 1 << 32
            if number < vcpus:
                self.fail("xl: maxvcpus < vcpus")
            if number:
                self.put("b_info/max_vcpus", number)

    def action(self, event: str) -> None:
        word = self.settings.text(event)
        if word is None:
            word = DEFAULT_ACTIONS[event]
        elif word not in ACTIONS:
            self.fail(f'Unknown {event} action "{word}" specified')
        self.actions[event] = word
        if word != "destroy":
            self.put(event, ACTIONS[word])

    # -- what it boots -----------------------------------------------------------------------

    def kernel(self) -> None:
        settings = self.settings
        kernel, bootloader = settings.text("kernel"), settings.text("bootloader", quiet=True)
        firmware = settings.text("firmware", quiet=True)
        if self.kind != "hvm":
            if firmware is not None and kernel is not None:
                self.fail("ERROR: both kernel and firmware specified")
            if firmware is not None:
                if firmware not in ("pvgrub32", "pvgrub64"):
                    self.fail("ERROR: only pvgrub{32|64} supported as firmware options")
                kernel = _PVGRUB.format(firmware)
            if kernel is None and bootloader is None and self.program is None:
                self.fail("Neither kernel nor bootloader specified")
        if kernel is not None:
            self.put("b_info/kernel", kernel)

    def text(self, name: str) -> None:
        value = self.settings.text(name)
        if value is not None:
            self.put(f"b_info/{name}", value)

    def cmdline(self) -> None:
        settings = self.settings
        cmdline = settings.text("cmdline")
        root, extra = settings.text("root"), settings.text("extra")
        if cmdline is not None:
            if root is not None or extra is not None:
                settings.warn("Warning: ignoring root= and extra= in favour of cmdline=")
        elif root is not None:
            cmdline = f"root={root}" if extra is None else f"root={root} {extra}"
        else:
            cmdline = extra
        if cmdline is not None:
            self.put("b_info/cmdline", cmdline)

    def bootloader_args(self) -> None:
        args = self.settings.rows("bootloader_args", quiet=True)
        if args is not None:
            words = self.settings.texts("bootloader_args")
        else:
            text = self.settings.text("bootloader_args", quiet=True)
            if text is None:
                return
            self.settings.warn(
                'WARNING: Specifying "bootloader_args" as a string is deprecated. '
                "Please use a list of arguments."
            )
            words = text.split()
        if words:
            self.put("b_info/bootloader_args", words)

    # -- devices -----------------------------------------------------------------------------

    def disk(self) -> None:
        for spec in self.settings.texts("disk"):
            self.disks.append(parse_disk(spec, self.settings.source))
        if self.disks:
            self.put("disks", [disk_tree(disk) for disk in self.disks])

    def vif(self) -> None:
        for spec in self.settings.texts("vif"):
            parsed = parse_vif(words_of(spec), self.settings.source)
            self.settings.warn(*parsed.said)
            self.vifs.append(parsed)
        if self.vifs:
            self.put("nics", [vif_tree(one.vif, number) for number, one in enumerate(self.vifs)])

    def device(self, key: str) -> None:
        member, reader = devices.READERS[key]
        found = [reader(spec, number) for number, spec in enumerate(self.settings.texts(key))]
        if found:
            self.put(member, found)

    def channel(self) -> None:
        found = []
        for number, spec in enumerate(self.settings.texts("channel")):
            channel, said = devices.channel(spec, number)
            self.settings.warn(*said)
            found.append(channel)
        if found:
            self.put("channels", found)

    def vfb(self) -> None:
        specs = self.settings.texts("vfb")
        if specs:
            self.put("vfbs", [devices.vfb(spec, number) for number, spec in enumerate(specs)])
            self.put("vkbs", [{"devid": number} for number in range(len(specs))])

    def vkb(self) -> None:
        before: list[Tree] = self.tree.get("vkbs", [])  # those of the framebuffers
        found = [
            devices.vkb(spec, number)
            for number, spec in enumerate(self.settings.texts("vkb"), len(before))
        ]
        if found:
            self.put("vkbs", before + found)


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
    "seclabel": Meaning.seclabels,
    "name": Meaning.name,
    "uuid": Meaning.uuid,
    "memory": Meaning.memory,
    "maxmem": Meaning.maxmem,
    "vcpus": Meaning.vcpus,
    "maxvcpus": Meaning.maxvcpus,
    **{event: lambda m, event=event: m.action(event) for event in DEFAULT_ACTIONS},  # type: ignore[misc]
    "kernel": Meaning.kernel,
    "ramdisk": lambda m: m.text("ramdisk"),
    "cmdline": Meaning.cmdline,
    "bootloader": lambda m: m.text("bootloader"),
    "bootloader_args": Meaning.bootloader_args,
    "disk": Meaning.disk,
    "vif": Meaning.vif,
    **{key: lambda m, key=key: m.device(key) for key in devices.READERS},  # type: ignore[misc]
    "channel": Meaning.channel,
    "vfb": Meaning.vfb,
    "vkb": Meaning.vkb,
    **affinity.SPECIALS,
    **passing.SPECIALS,
    **hvm.SPECIALS,
}
assert SPECIALS.keys() <= BY_NAME.keys()
