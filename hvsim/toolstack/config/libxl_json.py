"""libxl_domain_config as the JSON of ``xl create -d``, ``xl list -l`` and libxl's own records.

What is at its default is left out.  The order of the members is that of libxl's structures (public
header libxl.h), the look is that of yajl.
"""

import json
from typing import Any, Final

Tree = dict[str, Any]
"""An object of the JSON: members by name."""

_C_INFO: Final = (
    "type hap oos ssidref ssid_label name domid uuid xsdata platformdata poolid pool_name "
    "run_hotplug_scripts driver_domain passthrough xend_suspend_evtchn_compat"
)
_B_INFO: Final = (
    "max_vcpus avail_vcpus cpumap nodemap vcpu_hard_affinity vcpu_soft_affinity numa_placement "
    "tsc_mode max_memkb target_memkb video_memkb shadow_memkb iommu_memkb rtc_timeoffset "
    "exec_ssidref exec_ssid_label localtime disable_migrate cpuid blkdev_start vnuma_nodes "
    "max_grant_frames max_maptrack_frames max_grant_version device_model_version "
    "device_model_stubdomain stubdomain_memkb stubdomain_kernel stubdomain_cmdline "
    "stubdomain_ramdisk device_model device_model_ssidref device_model_ssid_label "
    "device_model_user extra extra_pv extra_hvm sched_params ioports irqs iomem claim_mode "
    "event_channels kernel cmdline ramdisk device_tree acpi bootloader bootloader_args timer_mode "
    "nested_hvm apic dm_restrict tee type.pv type.pvh type.hvm arch_arm arch_x86 altp2m "
    "vmtrace_buf_kb vpmu"
)
_HVM: Final = (
    "firmware bios pae apic acpi acpi_s3 acpi_s4 acpi_laptop_slate nx viridian viridian_enable "
    "viridian_disable timeoffset hpet vpt_align mmio_hole_memkb timer_mode nested_hvm altp2m "
    "system_firmware smbios_firmware acpi_firmware hdtype nographic vga vnc keymap sdl spice "
    "gfx_passthru gfx_passthru_kind serial boot usb usbversion usbdevice vkb_device soundhw "
    "xen_platform_pci usbdevice_list vendor_device ms_vm_genid serial_list rdm "
    "rdm_mem_boundary_memkb mca_caps"
)
_CONFIG: Final = (
    "c_info b_info disks nics pcidevs rdms dtdevs vfbs vkbs vtpms p9s pvcallsifs vdispls vsnds "
    "channels usbctrls usbdevs on_poweroff on_reboot on_watchdog on_crash on_soft_reset"
)
_ORDERS: Final = {
    "": _CONFIG,
    "c_info": _C_INFO,
    "b_info": _B_INFO,
    "type.pv": "kernel slack_memkb bootloader bootloader_args cmdline ramdisk features e820_host",
    "type.pvh": "pvshim pvshim_path pvshim_cmdline pvshim_extra",
    "type.hvm": _HVM,
    "sched_params": "sched weight cap period budget extratime slice latency",
    "vnc": "enable listen passwd display findunused",
    "sdl": "enable opengl display xauthority",
    "spice": (
        "enable port tls_port host disable_ticketing passwd agent_mouse vdagent "
        "clipboard_sharing usbredirection image_compression streaming_video"
    ),
    "disks": (
        "backend_domid backend_domname pdev_path vdev backend format script removable readwrite "
        "is_cdrom direct_io_safe discard_enable specification transport irq base colo_enable "
        "colo_restore_enable colo_host colo_port colo_export active_disk hidden_disk trusted"
    ),
    "nics": (
        "backend_domid backend_domname devid mtu model mac ip bridge ifname script nictype "
        "rate_bytes_per_interval rate_interval_usecs gatewaydev coloft_forwarddev trusted"
    ),
    "pcidevs": (
        "func dev bus domain vdevfn vfunc_mask msitranslate power_mgmt permissive seize "
        "rdm_policy name"
    ),
    "vfbs": "backend_domid backend_domname devid vnc sdl keymap",
    "vkbs": (
        "backend_domid backend_domname devid backend_type unique_id feature_disable_keyboard "
        "feature_disable_pointer feature_abs_pointer feature_raw_pointer feature_multi_touch "
        "width height multi_touch_width multi_touch_height multi_touch_num_contacts"
    ),
    "vtpms": "backend_domid backend_domname devid uuid",
    "p9s": "backend_domid backend_domname tag path security_model devid",
    "channels": "backend_domid backend_domname devid name connection.pty connection.socket",
    "usbctrls": "type devid version ports backend_domid backend_domname",
    "usbdevs": "ctrl port type.hostdev",
    "vdispls": "backend_domid backend_domname devid be_alloc connectors",
}
_RANKS: Final = {
    place: {name: rank for rank, name in enumerate(order.split())}
    for place, order in _ORDERS.items()
}


def skeleton(kind: str) -> Tree:
    """A config of a guest of *kind* in which everything else is at its default."""
    inner: Tree = {"vga": {}, "vnc": {}, "sdl": {}, "spice": {}, "rdm": {}} if kind == "hvm" else {}
    return {
        "c_info": {"type": kind},
        "b_info": {"sched_params": {}, f"type.{kind}": inner, "arch_arm": {}, "arch_x86": {}},
    }


def put(tree: Tree, path: str, value: object) -> None:
    """Set the member at *path* ("b_info/sched_params/cap")."""
    *parents, name = path.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[name] = value


def ordered(value: Any, place: str = "") -> Any:
    """The same with its members in libxl's order; what libxl does not know stands last."""
    if isinstance(value, list):
        return [ordered(item, place) for item in value]
    if not isinstance(value, dict):
        return value
    ranks = _RANKS.get(place, {})
    names = sorted(value, key=lambda name: ranks.get(name, len(ranks)))
    return {name: ordered(value[name], name) for name in names}


def render(value: object, indent: int = 0) -> str:
    """*value* as yajl writes it when it is to be read by people."""
    pad, inner = "    " * indent, "    " * (indent + 1)
    if isinstance(value, dict):
        rows = [f"{_text(name)}: {render(item, indent + 1)}" for name, item in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list):
        rows = [render(item, indent + 1) for item in value]
        opening, closing = "[", "]"
    else:
        return _text(value) if isinstance(value, str) else json.dumps(value)
    body = ",\n".join(f"{inner}{row}" for row in rows)
    return f"{opening}\n{body}\n{pad}{closing}"


def _text(text: str) -> str:
    """A string in quotes.  yajl writes control characters as \\u00XX in capitals, and passes on
    every other byte as it is."""
    short = {
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\f": "\\f",
        "\b": "\\b",
        '"': '\\"',
        "\\": "\\\\",
    }
    return (
        '"'
        + "".join(
            short.get(char) or (f"\\u{ord(char):04X}" if char < " " else char) for char in text
        )
        + '"'
    )
