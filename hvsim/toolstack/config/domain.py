"""A guest's whole config: what it means to xl (`reading.py`), and what of it this host acts on.

Ours is ``program = "module:function"``: what runs in the domain in place of a kernel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.config.disk import DiskConfig
from hvsim.toolstack.config.guest import ACTIONS
from hvsim.toolstack.config.libxl_json import Tree, ordered
from hvsim.toolstack.config.meaning import Host, Meaning
from hvsim.toolstack.config.reading import read
from hvsim.toolstack.config.settings import Settings, parse_settings
from hvsim.toolstack.config.vif import VifConfig

__all__ = ["ACTIONS", "DEFAULT_MEMORY", "EVENTS", "DomainConfig", "Host", "parse_config"]

DEFAULT_MEMORY: Final = 128
"""MiB; the default of libxl for a PV guest."""
EVENTS: Final = ("on_poweroff", "on_reboot", "on_crash", "on_watchdog")


@dataclass(frozen=True, slots=True)
class DomainConfig:
    """A guest, as its config asks for it.

    Attributes:
        name: the domain's name.
        memory, maxmem: MiB at the start, and at most.
        vcpus, maxvcpus: the same for virtual CPUs.
        uuid: None when a new one is to be made.
        kernel, ramdisk: files as named there; there is no kernel to boot here, the names appear
            in the store.
        cmdline: the kernel's command line: ``cmdline``, or ``root`` and ``extra``.
        program: "module:function" that runs in the domain, None when not said.
        driver_domain: it serves devices to others.
        disks, vifs: in the order of the config.
        bad_vifs: what xl left out of an interface and went on, with the interface's number.
        actions: on_poweroff and so on -> what is done then.
        warnings: what xl prints on stderr and yet goes on.
        libxl: libxl_domain_config, as `libxl_json.render` prints it.
        settings: what the config says, as written.
    """

    name: str
    memory: int
    maxmem: int
    vcpus: int
    maxvcpus: int
    uuid: str | None
    kernel: str | None
    ramdisk: str | None
    cmdline: str
    program: str | None
    driver_domain: bool
    type: str
    disks: tuple[DiskConfig, ...]
    vifs: tuple[VifConfig, ...]
    bad_vifs: tuple[tuple[int, str], ...]
    actions: dict[str, str]
    warnings: tuple[str, ...]
    libxl: Tree
    settings: Settings


def parse_config(
    text: str,
    source: str,
    overrides: Iterable[str] = (),
    *,
    program: str | None = None,
    fallback: str | None = None,
    host: Host | None = None,
) -> DomainConfig:
    """Parse a guest's config.

    Args:
        source: the file's name, as it is to appear in messages.
        overrides: further lines that count more (``xl create FILE key=value``).
        program: what runs in the domain whatever the config says.
        fallback: what runs in it when nobody says.
        host: what "all" CPUs are.

    Raises: ConfigError with xl's text and exit code.
    """
    settings = parse_settings(text, source, overrides)
    meaning = Meaning(settings, host or Host(), program, fallback)
    read(meaning)
    tree = ordered(meaning.tree)
    c_info, b_info = tree["c_info"], tree["b_info"]
    memory = _mib(b_info.get("target_memkb")) or DEFAULT_MEMORY
    vcpus = len(b_info.get("avail_vcpus", ()))
    maxvcpus = b_info.get("max_vcpus", 0)
    return DomainConfig(
        name=c_info["name"],
        memory=memory,
        maxmem=max(memory, _mib(b_info.get("max_memkb")) or 0),
        # A real guest with maxvcpus alone has one on line.
        vcpus=vcpus or 1,
        maxvcpus=max(vcpus, maxvcpus) or 1,
        uuid=c_info.get("uuid"),
        kernel=b_info.get("kernel") or b_info.get("bootloader") or None,
        ramdisk=b_info.get("ramdisk"),
        cmdline=b_info.get("cmdline", ""),
        program=meaning.program,
        driver_domain=c_info.get("driver_domain") == "True",
        type=meaning.kind,
        disks=tuple(meaning.disks),
        vifs=tuple(one.vif for one in meaning.vifs),
        bad_vifs=tuple(
            (number, text) for number, one in enumerate(meaning.vifs) for text in one.bad
        ),
        actions={event: meaning.actions[event] for event in EVENTS},
        warnings=tuple(settings.warnings),
        libxl=tree,
        settings=settings,
    )


def _mib(kib: int | None) -> int | None:
    """MiB of libxl's number; None for what was meant to be negative."""
    return None if kib is None or kib >= 1 << 63 else kib // 1024
