"""What an HVM guest has besides, and the device model.  No such guest can be built on this host,
yet its config is read, so that a mistake in it is told as xl tells it."""

from collections.abc import Callable
from typing import Final

from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.meaning import Meaning
from hvsim.toolstack.config.numbers import c_number

_HVM: Final = "b_info/type.hvm"
_VIRIDIAN: Final = (
    "base", "freq", "time_ref_count", "reference_tsc", "hcall_remote_tlb_flush", "apic_assist",
    "crash_ctl", "synic", "stimer", "hcall_ipi", "ex_processor_masks", "no_vp_limit",
    "cpu_hotplug",
)  # fmt: skip
_VIRIDIAN_BITS: Final = 64
_MMIO_HOLE: Final = range(256, 3841)
"""MiB."""
_DM_VERSIONS: Final = {
    "qemu-xen": "qemu_xen",
    "qemu-xen-traditional": "qemu_xen_traditional",
}
_SCREEN: Final = (
    ("vnc", "vnc", "enable", "flag"),
    ("vnclisten", "vnc", "listen", "text"),
    ("vncpasswd", "vnc", "passwd", "text"),
    ("vncdisplay", "vnc", "display", "number"),
    ("vncunused", "vnc", "findunused", "flag"),
    ("sdl", "sdl", "enable", "flag"),
    ("opengl", "sdl", "opengl", "flag"),
    ("display", "sdl", "display", "text"),
    ("xauthority", "sdl", "xauthority", "text"),
)
"""Key, part, member, kind of value."""


def _choice(meaning: Meaning, key: str, known: tuple[str, ...], text: str, code: int) -> str | None:
    word = meaning.settings.text(key)
    if word is not None and word not in known:
        raise ConfigError(text.format(word), code=code)
    return word


def bios(meaning: Meaning) -> None:
    """``bios_path_override`` and ``bios``.  Raises: ConfigError."""
    settings = meaning.settings
    path = settings.text("bios_path_override")
    if path is not None:
        meaning.put(f"{_HVM}/system_firmware", path)
    text = 'ERROR: invalid value "{}" for "bios"'
    word = _choice(meaning, "bios", ("rombios", "seabios", "ovmf", "unknown"), text, 1)
    if word is not None:
        meaning.put(f"{_HVM}/bios", word)
    elif path is not None:
        settings.warn("WARNING: bios_path_override given without specific bios name")


def viridian(meaning: Meaning) -> None:
    """``viridian``: a list of enlightenments, or a flag.  Raises: ConfigError."""
    settings = meaning.settings
    if settings.rows("viridian", quiet=True) is None:
        number = settings.number("viridian", quiet=True)
        if number is not None:
            meaning.put(f"{_HVM}/viridian", str(bool(number)))
        return
    enabled: set[int] = set()
    disabled: set[int] = set()
    for text in settings.texts("viridian"):
        word = text.removeprefix("!")
        chosen, other = (disabled, enabled) if word != text else (enabled, disabled)
        if word == "all":
            bits = set(range(_VIRIDIAN_BITS))
        elif word == "defaults":
            meaning.put(f"{_HVM}/viridian", str(word == text))
            continue
        elif word in _VIRIDIAN:
            bits = {_VIRIDIAN.index(word)}
        else:
            raise ConfigError(f"xl: unknown viridian enlightenment '{word}'", code=3)
        chosen |= bits
        other -= bits
    for name, bits in (("enable", enabled), ("disable", disabled)):
        if bits:
            meaning.put(f"{_HVM}/viridian_{name}", sorted(bits))


def mmio_hole(meaning: Meaning) -> None:
    """``mmio_hole``.  Raises: ConfigError."""
    number = meaning.settings.number("mmio_hole")
    if number is None:
        return
    if number not in _MMIO_HOLE:
        raise ConfigError(f'ERROR: invalid value {number} for "mmio_hole"')
    meaning.put(f"{_HVM}/mmio_hole_memkb", number * 1024)


def altp2mhvm(meaning: Meaning) -> None:
    """``altp2mhvm``, the former ``altp2m``."""
    flag = meaning.settings.flag("altp2mhvm")
    if flag is not None:
        meaning.settings.warn(
            'WARNING: Specifying "altp2mhvm" is deprecated. Please use "altp2m" instead.'
        )
        meaning.put(f"{_HVM}/altp2m", str(flag))


def ms_vm_genid(meaning: Meaning) -> None:
    """``ms_vm_genid``: random bytes.  Raises: ConfigError."""
    word = meaning.settings.text("ms_vm_genid")
    if word == "generate":
        meaning.put(f"{_HVM}/ms_vm_genid", list(meaning.host.draw(16)))
    elif word not in (None, "none"):
        raise ConfigError('ERROR: "ms_vm_genid" option must be "generate" or "none"')


def mca_caps(meaning: Meaning) -> None:
    """``mca_caps``.  Raises: ConfigError."""
    settings = meaning.settings
    if "mca_caps" not in settings.values:
        return
    if settings.rows("mca_caps", quiet=True) is None:
        raise ConfigError("ERROR: unable to parse mca_caps.", code=3)
    for word in settings.texts("mca_caps"):
        if word != "lmce":
            raise ConfigError(f"ERROR: unrecognized MCA capability '{word}'.", code=3)
        meaning.put(f"{_HVM}/mca_caps", 1)


def firmware(meaning: Meaning) -> None:
    """``firmware``: for a PV guest it was the kernel's business."""
    word = meaning.settings.text("firmware")
    if meaning.kind != "hvm" or word in (None, "bios"):
        return
    if word in ("uefi", "seabios", "rombios", "ovmf"):
        meaning.put(f"{_HVM}/bios", "ovmf" if word == "uefi" else word)
    else:
        meaning.put(f"{_HVM}/firmware", word)


def device_model(meaning: Meaning) -> None:
    """``device_model``, ``device_model_override``, ``device_model_version``.

    Raises: ConfigError.
    """
    settings = meaning.settings
    if settings.text("device_model") is not None:
        settings.warn(
            "WARNING: ignoring device_model directive.",
            'WARNING: Use "device_model_override" instead if you really want a non-default '
            "device_model",
        )
    override = settings.text("device_model_override")
    if override is not None:
        meaning.put("b_info/device_model", override)
    version = _choice(
        meaning,
        "device_model_version",
        tuple(_DM_VERSIONS),
        'Unknown device_model_version "{}" specified',
        1,
    )
    if version is not None:
        meaning.put("b_info/device_model_version", _DM_VERSIONS[version])
    elif override is not None:
        settings.warn("WARNING: device model override given without specific DM version")


def device_model_args(meaning: Meaning, key: str) -> None:
    """Further words for the device model.  Raises: ConfigError."""
    if key not in meaning.settings.values:
        return
    if meaning.settings.rows(key) is None:
        raise ConfigError(f"xl: Unable to parse {key}.", code=3)
    words = meaning.settings.texts(key)
    if words:
        suffix = key.removeprefix("device_model_args")
        meaning.put(f"b_info/extra{suffix}", words)


def screen(meaning: Meaning) -> None:
    """``vnc``, ``sdl`` and theirs: a framebuffer for a PV guest, the emulated one for HVM."""
    settings = meaning.settings
    if meaning.kind == "pv":
        if not settings.number("vnc") or meaning.tree.get("vfbs"):
            return
        root = "vfbs"
        meaning.tree["vfbs"] = [{"devid": 0, "vnc": {}, "sdl": {}}]
        meaning.tree["vkbs"] = [*meaning.tree.get("vkbs", []), {"devid": 0}]
    else:
        root = _HVM
    for key, part, member, kind in _SCREEN:
        value: object
        if kind == "text":
            value = settings.text(key)
        elif kind == "flag":
            flag = settings.flag(key)
            value = None if flag is None else str(flag)
        else:
            value = settings.number(key) or None
        if value is None:
            continue
        if root == "vfbs":
            meaning.tree["vfbs"][0][part][member] = value
        elif meaning.kind == "hvm":
            meaning.put(f"{root}/{part}/{member}", value)


def keymap(meaning: Meaning) -> None:
    """``keymap``."""
    if meaning.kind == "hvm":
        word = meaning.settings.text("keymap")
        if word is not None:
            meaning.put(f"{_HVM}/keymap", word)
    elif meaning.kind == "pv" and meaning.settings.number("vnc", quiet=True):
        word = meaning.settings.text("keymap")
        if word is not None and meaning.tree.get("vfbs"):
            meaning.tree["vfbs"][0]["keymap"] = word


def vga(meaning: Meaning) -> None:
    """``vga``, or ``stdvga`` in its place.  Raises: ConfigError."""
    settings = meaning.settings
    kinds = {"stdvga": "std", "cirrus": "cirrus", "qxl": "qxl", "none": "none"}
    word = _choice(meaning, "vga", tuple(kinds), 'Unknown vga "{}" specified', 1)
    if word is not None:
        meaning.put(f"{_HVM}/vga/kind", kinds[word])
        return
    standard = settings.number("stdvga")
    if standard is not None:
        meaning.put(f"{_HVM}/vga/kind", "std" if standard else "cirrus")


def hdtype(meaning: Meaning) -> None:
    """``hdtype``.  Raises: ConfigError."""
    word = _choice(meaning, "hdtype", ("ide", "ahci"), 'ERROR: invalid value "{}" for "hdtype"', 1)
    if word == "ahci":
        meaning.put(f"{_HVM}/hdtype", word)


def gfx_passthru(meaning: Meaning) -> None:
    """``gfx_passthru``: a flag, or the kind of card.  Raises: ConfigError."""
    text = meaning.settings.text("gfx_passthru")
    if text is None:
        return
    number = c_number(text)
    if number is not None and number[1] == len(text):
        meaning.put(f"{_HVM}/gfx_passthru", str(bool(number[0])))
    elif text in ("default", "igd"):
        meaning.put(f"{_HVM}/gfx_passthru", "True")
        if text != "default":
            meaning.put(f"{_HVM}/gfx_passthru_kind", text)
    else:
        raise ConfigError(f'ERROR: invalid value "{text}" for "gfx_passthru"')


def text_or_list(meaning: Meaning, key: str) -> None:
    """``serial`` or ``usbdevice``: one, or a list of them."""
    settings = meaning.settings
    if settings.rows(key, quiet=True) is not None:
        words = settings.texts(key)
        if words:
            meaning.put(f"{_HVM}/{key}_list", words)
    elif (word := settings.text(key, quiet=True)) is not None:
        meaning.put(f"{_HVM}/{key}", word)


def vendor_device(meaning: Meaning) -> None:
    """``vendor_device``.  Raises: ConfigError."""
    word = _choice(
        meaning,
        "vendor_device",
        ("none", "xenserver"),
        "xl: unknown vendor_device '{}'",
        3,
    )
    if word == "xenserver":
        meaning.put(f"{_HVM}/vendor_device", word)


def vncviewer(meaning: Meaning) -> None:
    """``vncviewer``, which is an option of the command now."""
    if meaning.settings.number("vncviewer") is not None:
        meaning.settings.warn(
            'WARNING: ignoring "vncviewer" option. Use "-V" option of "xl create" to '
            "automatically spawn vncviewer."
        )


SPECIALS: Final[dict[str, Callable[[Meaning], None]]] = {
    "bios": bios,
    "viridian": viridian,
    "mmio_hole": mmio_hole,
    "altp2mhvm": altp2mhvm,
    "ms_vm_genid": ms_vm_genid,
    "mca_caps": mca_caps,
    "firmware": firmware,
    "device_model": device_model,
    **{
        key: lambda meaning, key=key: device_model_args(meaning, key)  # type: ignore[misc]
        for key in ("device_model_args", "device_model_args_pv", "device_model_args_hvm")
    },
    "vnc": screen,
    "vga": vga,
    "hdtype": hdtype,
    "keymap": keymap,
    "gfx_passthru": gfx_passthru,
    **{
        key: lambda meaning, key=key: text_or_list(meaning, key)  # type: ignore[misc]
        for key in ("serial", "usbdevice")
    },
    "vendor_device": vendor_device,
    "vncviewer": vncviewer,
}
