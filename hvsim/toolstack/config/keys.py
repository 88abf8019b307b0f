"""Every key of xl.cfg(5), in the order in which xl reads them: how its value is read, where libxl
keeps it, and what becomes of it here.

Kinds of value:

    text      a single value, as it stands
    number    a number, or what C makes of it; `scale` makes KiB of MiB; at `default` it is left out
    flag      "True" or "False" ("defbool": libxl has a third state, not said)
    special   read by a function of its own (meaning.py, devices.py)

What becomes of it:

    ACTS      it does what it says
    SHOWN     it stands where libxl keeps it (``xl list -l``, the store), and that is all its use
    NOTHING   accepted and without effect here, for the reason given; `hvsim validate` says so
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

UINT32: Final = 32
UINT64: Final = 64


class Effect(Enum):
    """What becomes of a key here."""

    ACTS = "acts"
    SHOWN = "shown"
    NOTHING = "nothing"


ALL: Final = ("pv", "pvh", "hvm")
_HVM: Final = ("hvm",)
_PVH: Final = ("pvh",)

SCHEDULING: Final = "CPU time is measured here, not scheduled"
NO_CPUS: Final = "domains run on whichever CPU Linux gives them"
HARDWARE: Final = "no hardware is emulated for a PV guest"
PASSED: Final = "no device of the host is handed to a guest"
SCREEN: Final = "guests have no screen; hvsim xl console shows what they say"
KERNEL: Final = "no kernel is booted here; name what is to run with program="
PAGING: Final = "guests have no page tables of their own"
POLICY: Final = "there is no security policy (XSM) here"
NO_POOL: Final = "there is one pool of CPUs"
MOVING: Final = "guests are not saved or moved here"
TIME: Final = "a guest's clock is the host's"
NO_BACKEND: Final = "there is no backend for such a device here"
MODEL: Final = "the device model of a PV guest serves disks and nothing else"
ARM: Final = "this is an x86 host"
TABLES: Final = "grant tables and event channels have fixed limits here"
CPUID: Final = "a program sees the CPU as it is"


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: as a config spells it.
        kind: see the module's text.
        path: where libxl keeps it; "" where its function knows.
        guests: the types of guest for which xl looks at it.
        effect, why: see the module's text; *why* without a full stop.
        scale: what a number is multiplied by.
        width: bits of the number.
        default: the number that is left out.
    """

    name: str
    kind: str
    path: str = ""
    effect: Effect = Effect.SHOWN
    why: str = ""
    guests: tuple[str, ...] = ALL
    scale: int = 1
    width: int = UINT32
    default: int | None = None


def _of(
    kind: str, prefix: str, names: str, why: str, guests: tuple[str, ...] = ALL
) -> Iterator[Key]:
    """Keys of one kind that have no effect; "key:member" where libxl calls it otherwise."""
    for name in names.split():
        key, _, member = name.partition(":")
        default = 0 if kind == "number" else None
        yield Key(
            key, kind, f"{prefix}{member or key}", Effect.NOTHING, why, guests, 1, UINT32, default
        )


def _special(
    names: str, effect: Effect, why: str = "", guests: tuple[str, ...] = ALL
) -> Iterator[Key]:
    for name in names.split():
        yield Key(name, "special", "", effect, why, guests)


def _sched(name: str, default: int) -> Key:
    path = f"b_info/sched_params/{name.removeprefix('cpu_')}"
    return Key(name, "number", path, Effect.NOTHING, SCHEDULING, default=default)


def _kib(name: str, path: str, why: str, guests: tuple[str, ...] = ALL) -> Key:
    """A number of MiB that libxl keeps in KiB, and that it tells from "not said" at 0 as well."""
    return Key(name, "number", path, Effect.NOTHING, why, guests, 1024, UINT64)


_H: Final = "b_info/type.hvm/"
_P: Final = "b_info/type.pvh/"

KEYS: Final[tuple[Key, ...]] = (
    *_special("type builder", Effect.ACTS),
    *_special("init_seclabel seclabel", Effect.NOTHING, POLICY),
    *_of("flag", "c_info/", "hap oos", PAGING),
    *_special("name", Effect.ACTS),
    *_special("uuid", Effect.ACTS),
    *_of("text", "c_info/", "pool:pool_name", NO_POOL),
    *_of("flag", _P, "pvshim", HARDWARE, _PVH),
    *_of("text", _P, "pvshim_path pvshim_cmdline pvshim_extra", HARDWARE, _PVH),
    _sched("cpu_weight", -1),
    _sched("cap", -1),
    _sched("period", -1),
    _sched("slice", -1),
    _sched("latency", -1),
    _sched("extratime", -1),
    *_special("memory maxmem vcpus maxvcpus", Effect.ACTS),
    *_special("vuart", Effect.NOTHING, ARM),
    *_special("vnuma", Effect.NOTHING, "virtual NUMA is not built here"),
    *_special("cpus cpus_soft", Effect.NOTHING, NO_CPUS),
    *_special("on_poweroff on_reboot on_watchdog on_crash", Effect.ACTS),
    *_special("on_soft_reset", Effect.NOTHING, "a guest cannot ask for a soft reset here"),
    *_of("flag", "b_info/type.pv/", "e820_host", HARDWARE, ("pv",)),
    *_special("pci_msitranslate pci_power_mgmt pci_permissive pci_seize", Effect.NOTHING, PASSED),
    *_special("rdm pci dtdev passthrough", Effect.NOTHING, PASSED),
    _kib("shadow_memory", "b_info/shadow_memkb", PAGING),
    *_of("flag", "b_info/", "nomigrate:disable_migrate", MOVING),
    *_special("tsc_mode", Effect.NOTHING, TIME),
    *_of("number", "b_info/", "rtc_timeoffset", TIME),
    *_special("vncviewer", Effect.NOTHING, SCREEN),
    *_of("flag", "b_info/", "localtime", TIME),
    _kib("videoram", "b_info/video_memkb", SCREEN),
    *_of("number", "b_info/", "max_event_channels:event_channels", TABLES),
    *_special("max_grant_frames max_maptrack_frames max_grant_version", Effect.NOTHING, TABLES),
    *_special("kernel ramdisk", Effect.SHOWN),
    *_of("text", "b_info/", "device_tree", ARM),
    *_special("cmdline root extra", Effect.ACTS),
    Key("driver_domain", "flag", "c_info/driver_domain", Effect.ACTS),
    *_of("flag", "b_info/", "acpi", HARDWARE),
    *_special("bootloader", Effect.SHOWN),
    *_special("bootloader_args timer_mode", Effect.NOTHING, KERNEL),
    *_of("flag", "b_info/", "nestedhvm:nested_hvm", HARDWARE),
    *_of("text", _H, "firmware_override:firmware", HARDWARE, _HVM),
    *_special("bios_path_override bios", Effect.NOTHING, HARDWARE, _HVM),
    *_of("flag", _H, "pae acpi_s3 acpi_s4 acpi_laptop_slate nx hpet vpt_align", HARDWARE, _HVM),
    *_of("flag", "b_info/", "apic", HARDWARE, _HVM),
    *_special("viridian mmio_hole altp2mhvm", Effect.NOTHING, HARDWARE, _HVM),
    *_of("text", _H, "smbios_firmware acpi_firmware", HARDWARE, _HVM),
    *_special("ms_vm_genid", Effect.NOTHING, HARDWARE, _HVM),
    _kib("rdm_mem_boundary", f"{_H}rdm_mem_boundary_memkb", PASSED, _HVM),
    *_special("mca_caps", Effect.NOTHING, HARDWARE, _HVM),
    *_special("firmware", Effect.NOTHING, KERNEL),
    *_special("altp2m", Effect.NOTHING, PAGING),
    *_special("vmtrace_buf_kb", Effect.NOTHING, "no instruction of a guest is traced"),
    *_special("ioports irqs iomem", Effect.NOTHING, PASSED),
    *_special("disk", Effect.ACTS),
    *_special("p9 vtpm vdispl pvcalls vsnd channel", Effect.NOTHING, NO_BACKEND),
    *_special("vif", Effect.ACTS),
    *_special("vif2", Effect.NOTHING, "no xl has it any more; use vif"),
    *_special("vfb", Effect.NOTHING, SCREEN),
    *_special("usbctrl usbdev", Effect.NOTHING, PASSED),
    *_special("cpuid", Effect.NOTHING, CPUID),
    *_special("device_model device_model_override device_model_version", Effect.NOTHING, MODEL),
    *_of("flag", "b_info/", "device_model_stubdomain_override:device_model_stubdomain", MODEL),
    *_of(
        "text",
        "b_info/",
        "device_model_stubdomain_seclabel:device_model_ssid_label device_model_user",
        MODEL,
    ),
    *_of("text", "b_info/", "stubdomain_kernel stubdomain_cmdline stubdomain_ramdisk", MODEL),
    _kib("stubdomain_memory", "b_info/stubdomain_memkb", MODEL),
    *_special(
        "device_model_args device_model_args_pv device_model_args_hvm", Effect.NOTHING, MODEL
    ),
    *_special(
        "vnc vnclisten vncpasswd vncdisplay vncunused sdl opengl display xauthority",
        Effect.NOTHING,
        SCREEN,
    ),
    *_of("flag", "b_info/", "dm_restrict", MODEL),
    *_special("vga stdvga hdtype", Effect.NOTHING, HARDWARE, _HVM),
    *_special("keymap", Effect.NOTHING, SCREEN),
    *_of("flag", f"{_H}spice/", "spice:enable", SCREEN, _HVM),
    *_of("number", f"{_H}spice/", "spiceport:port spicetls_port:tls_port", SCREEN, _HVM),
    *_of("text", f"{_H}spice/", "spicehost:host", SCREEN, _HVM),
    *_of("flag", f"{_H}spice/", "spicedisable_ticketing:disable_ticketing", SCREEN, _HVM),
    *_of("text", f"{_H}spice/", "spicepasswd:passwd", SCREEN, _HVM),
    *_of("flag", f"{_H}spice/", "spiceagent_mouse:agent_mouse spicevdagent:vdagent", SCREEN, _HVM),
    *_of("flag", f"{_H}spice/", "spice_clipboard_sharing:clipboard_sharing", SCREEN, _HVM),
    *_of("number", f"{_H}spice/", "spiceusbredirection:usbredirection", SCREEN, _HVM),
    *_of(
        "text",
        f"{_H}spice/",
        "spice_image_compression:image_compression spice_streaming_video:streaming_video",
        SCREEN,
        _HVM,
    ),
    *_of("flag", _H, "nographic", SCREEN, _HVM),
    *_special("gfx_passthru", Effect.NOTHING, PASSED, _HVM),
    *_special("serial", Effect.NOTHING, HARDWARE, _HVM),
    *_of("text", _H, "boot", KERNEL, _HVM),
    *_of("flag", _H, "usb", HARDWARE, _HVM),
    *_of("number", _H, "usbversion", HARDWARE, _HVM),
    *_special("usbdevice", Effect.NOTHING, HARDWARE, _HVM),
    *_of("flag", _H, "vkb_device", HARDWARE, _HVM),
    *_of("text", _H, "soundhw", HARDWARE, _HVM),
    *_of("flag", _H, "xen_platform_pci", HARDWARE, _HVM),
    *_special("vendor_device", Effect.NOTHING, HARDWARE, _HVM),
    *_special("gic_version tee", Effect.NOTHING, ARM),
    *_special("vkb", Effect.NOTHING, NO_BACKEND),
    *_of("flag", "c_info/", "xend_suspend_evtchn_compat", MOVING),
    *_special("msr_relaxed", Effect.NOTHING, CPUID),
    *_of("flag", "b_info/", "vpmu", CPUID),
)
"""In xl's order."""

OURS: Final = ("program",)
"""Keys of ours, which xl does not know and passes over."""
BY_NAME: Final = {key.name: key for key in KEYS}
