"""What a config says of the guest itself and of what it boots."""

from collections.abc import Callable
from typing import Final

from hvsim.names.machine import parse_uuid
from hvsim.toolstack.config.affinity import MAX_VCPUS
from hvsim.toolstack.config.libxl_json import skeleton
from hvsim.toolstack.config.meaning import Meaning

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


def settle_type(meaning: Meaning) -> None:
    """``type`` and ``builder``.  Raises: ConfigError."""
    kind, builder = meaning.settings.text("type"), meaning.settings.text("builder")
    if kind is not None and kind not in ("pv", "pvh", "hvm"):
        meaning.fail(f"Invalid domain type {kind}.")
    if builder is not None and builder not in ("generic", "hvm"):
        meaning.fail(f"Invalid domain type {builder}.")
    built = {"generic": "pv", "hvm": "hvm"}.get(builder or "")
    if kind and built and kind != built:
        meaning.fail('Contradicting "builder" and "type" options specified.')
    meaning.kind = kind or built or "pv"
    meaning.tree = skeleton(meaning.kind)
    meaning.put("c_info/run_hotplug_scripts", "True")
    meaning.put("b_info/claim_mode", "True")


def seclabels(meaning: Meaning) -> None:
    """``init_seclabel`` and ``seclabel``."""
    initial, label = meaning.settings.text("init_seclabel"), meaning.settings.text("seclabel")
    if initial is not None or label is not None:
        meaning.put("c_info/ssid_label", initial if initial is not None else label)
    if initial is not None and label is not None:
        meaning.put("b_info/exec_ssid_label", label)


def name(meaning: Meaning) -> None:
    """``name``.  Raises: ConfigError."""
    name = meaning.settings.text("name")
    if name is None:
        meaning.fail("Domain name must be specified.")
    meaning.put("c_info/name", name)


def uuid(meaning: Meaning) -> None:
    """``uuid``.  Raises: ConfigError."""
    text = meaning.settings.text("uuid")
    if text is not None:
        uuid = parse_uuid(text)
        if uuid is None:
            meaning.fail(f"Failed to parse UUID: {text}")
        meaning.put("c_info/uuid", uuid)


def memory(meaning: Meaning) -> None:
    """``memory``."""
    memory = meaning.settings.number("memory")
    if memory is not None:
        meaning.put("b_info/max_memkb", memory * 1024 % (1 << 64))
        meaning.put("b_info/target_memkb", memory * 1024 % (1 << 64))


def maxmem(meaning: Meaning) -> None:
    """``maxmem``."""
    maxmem = meaning.settings.number("maxmem")
    if maxmem is not None:
        meaning.put("b_info/max_memkb", maxmem * 1024 % (1 << 64))


def vcpus(meaning: Meaning) -> None:
    """``vcpus``.  Raises: ConfigError."""
    vcpus = meaning.settings.number("vcpus")
    if vcpus is not None:
        if vcpus < 0:
            meaning.fail(
                "libxl: error: libxl_utils.c:809:libxl_cpu_bitmap_alloc: invalid number of "
                "cpus provided",
                "Unable to allocate cpumap",
            )
        if vcpus > MAX_VCPUS:
            meaning.fail("xl: maxvcpus < vcpus")
        if vcpus:
            meaning.put("b_info/max_vcpus", vcpus)
            meaning.put("b_info/avail_vcpus", list(range(vcpus)))


def maxvcpus(meaning: Meaning) -> None:
    """``maxvcpus``.  Raises: ConfigError."""
    number = meaning.settings.number("maxvcpus")
    vcpus = len(meaning.tree["b_info"].get("avail_vcpus", ()))
    if number is not None:
        number %= 1 << 32
        if number < vcpus:
            meaning.fail("xl: maxvcpus < vcpus")
        if number:
            meaning.put("b_info/max_vcpus", number)


def action(meaning: Meaning, event: str) -> None:
    """``on_poweroff`` and its like.  Raises: ConfigError."""
    word = meaning.settings.text(event)
    if word is None:
        word = DEFAULT_ACTIONS[event]
    elif word not in ACTIONS:
        meaning.fail(f'Unknown {event} action "{word}" specified')
    meaning.actions[event] = word
    if word != "destroy":
        meaning.put(event, ACTIONS[word])


def kernel(meaning: Meaning) -> None:
    """``kernel``, or ``firmware`` in its place.  Raises: ConfigError."""
    settings = meaning.settings
    kernel, bootloader = settings.text("kernel"), settings.text("bootloader", quiet=True)
    firmware = settings.text("firmware", quiet=True)
    if meaning.kind != "hvm":
        if firmware is not None and kernel is not None:
            meaning.fail("ERROR: both kernel and firmware specified")
        if firmware is not None:
            if firmware not in ("pvgrub32", "pvgrub64"):
                meaning.fail("ERROR: only pvgrub{32|64} supported as firmware options")
            kernel = _PVGRUB.format(firmware)
        if kernel is None and bootloader is None and meaning.program is None:
            meaning.fail("Neither kernel nor bootloader specified")
    if kernel is not None:
        meaning.put("b_info/kernel", kernel)


def text(meaning: Meaning, name: str) -> None:
    """A text of b_info."""
    value = meaning.settings.text(name)
    if value is not None:
        meaning.put(f"b_info/{name}", value)


def cmdline(meaning: Meaning) -> None:
    """``cmdline``, or ``root`` and ``extra``."""
    settings = meaning.settings
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
        meaning.put("b_info/cmdline", cmdline)


def bootloader_args(meaning: Meaning) -> None:
    """``bootloader_args``."""
    args = meaning.settings.rows("bootloader_args", quiet=True)
    if args is not None:
        words = meaning.settings.texts("bootloader_args")
    else:
        text = meaning.settings.text("bootloader_args", quiet=True)
        if text is None:
            return
        meaning.settings.warn(
            'WARNING: Specifying "bootloader_args" as a string is deprecated. '
            "Please use a list of arguments."
        )
        words = text.split()
    if words:
        meaning.put("b_info/bootloader_args", words)


SPECIALS: Final[dict[str, Callable[[Meaning], None]]] = {
    "seclabel": seclabels,
    "name": name,
    "uuid": uuid,
    "memory": memory,
    "maxmem": maxmem,
    "vcpus": vcpus,
    "maxvcpus": maxvcpus,
    **{event: lambda meaning, event=event: action(meaning, event) for event in DEFAULT_ACTIONS},  # type: ignore[misc]
    "kernel": kernel,
    "ramdisk": lambda meaning: text(meaning, "ramdisk"),
    "cmdline": cmdline,
    "bootloader": lambda meaning: text(meaning, "bootloader"),
    "bootloader_args": bootloader_args,
}
