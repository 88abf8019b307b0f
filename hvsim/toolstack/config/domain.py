"""A guest's whole config: which keys mean something here, and what they mean.

Keys that a real guest config may have and that mean nothing to this host (``ramdisk``, ``pci``
...) are accepted.  Ours is ``program = "module:function"``: what runs in the domain in
place of a kernel.  Source: xl.cfg(5), tools/xl/xl_parse.c.
"""

import uuid as uuids
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hvsim.toolstack.config.disk import DiskConfig, parse_disk
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.syntax import Settings, parse_settings
from hvsim.toolstack.config.vif import VifConfig, parse_vif

ACTIONS: Final = (
    "destroy",
    "restart",
    "rename-restart",
    "preserve",
    "coredump-destroy",
    "coredump-restart",
    "soft-reset",
)
DEFAULT_MEMORY: Final = 128
"""MiB; the default of libxl for a PV guest."""
NAME_MAX: Final = 128

EVENTS: Final = ("on_poweroff", "on_reboot", "on_crash", "on_watchdog")
_DEFAULT_ACTIONS: Final = {
    "on_poweroff": "destroy",
    "on_reboot": "restart",
    "on_crash": "destroy",
    "on_watchdog": "destroy",
}


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
        actions: on_poweroff and so on -> what is done then.
        warnings: what xl prints on stderr and yet goes on.
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
    actions: dict[str, str]
    warnings: tuple[str, ...]


def parse_config(
    text: str, source: str, overrides: Iterable[str] = (), *, program: str | None = None
) -> DomainConfig:
    """Parse a guest's config.

    Args:
        source: the file's name, as it is to appear in messages.
        overrides: further lines that count more (``xl create FILE key=value``).
        program: what runs in the domain whatever the config says.

    Raises: ConfigError with xl's text and exit code.
    """
    settings = parse_settings(text, source, overrides)
    kind = _type(settings)
    name = settings.text("name")
    if not name:
        raise ConfigError("Domain name must be specified.")
    check_name(name)
    uuid = _uuid(settings)
    vcpus, maxvcpus = _vcpus(settings)
    memory = settings.number("memory")
    if memory is None or memory <= 0:
        memory = DEFAULT_MEMORY
    actions = {event: _action(settings, event) for event in EVENTS}
    program = program or settings.text("program") or None
    kernel = settings.text("kernel") or settings.text("bootloader") or None
    if kind == "pv" and not (kernel or program):
        raise ConfigError("Neither kernel nor bootloader specified")
    maxmem = settings.number("maxmem")
    disks = tuple(parse_disk(spec, source) for spec in settings.items("disk"))
    vifs = _vifs(settings)
    return DomainConfig(
        name=name,
        memory=memory,
        maxmem=max(memory, maxmem or 0),
        vcpus=vcpus,
        maxvcpus=maxvcpus,
        uuid=uuid,
        kernel=kernel,
        ramdisk=settings.text("ramdisk"),
        cmdline=_cmdline(settings),
        program=program,
        driver_domain=settings.flag("driver_domain"),
        type=kind,
        disks=disks,
        vifs=vifs,
        actions=actions,
        warnings=tuple(settings.warnings),
    )


def _type(settings: Settings) -> str:
    kind = settings.text("type")
    builder = settings.text("builder")
    if kind is None:
        return "hvm" if builder == "hvm" else "pv"
    if kind not in ("pv", "pvh", "hvm"):
        raise ConfigError(f"Invalid domain type {kind}.")
    return kind


def check_name(name: str) -> None:
    """Names end up in store paths' values, file names and messages: keep them printable."""
    if len(name) > NAME_MAX or not name.isprintable() or "/" in name or name in (".", ".."):
        raise ConfigError(
            f"Invalid domain name {name!r}: use up to {NAME_MAX} printable characters without '/'."
        )


def _uuid(settings: Settings) -> str | None:
    text = settings.text("uuid")
    if text is None:
        return None
    try:
        return str(uuids.UUID(text))
    except ValueError:
        raise ConfigError(f"Failed to parse UUID: {text}") from None


def _vcpus(settings: Settings) -> tuple[int, int]:
    vcpus = settings.number("vcpus")
    maxvcpus = settings.number("maxvcpus")
    if vcpus is not None and maxvcpus is not None and maxvcpus < vcpus:
        raise ConfigError("xl: maxvcpus < vcpus")
    vcpus = max(1, vcpus or maxvcpus or 1)
    return vcpus, max(vcpus, maxvcpus or 0)


def _action(settings: Settings, event: str) -> str:
    action = settings.text(event)
    if action is None:
        return _DEFAULT_ACTIONS[event]
    if action not in ACTIONS:
        raise ConfigError(f'Unknown {event} action "{action}" specified')
    return action


def _cmdline(settings: Settings) -> str:
    cmdline = settings.text("cmdline")
    root, extra = settings.text("root"), settings.text("extra")
    if cmdline is not None:
        if root or extra:
            settings.warnings.append("Warning: ignoring root= and extra= in favour of cmdline=")
        return cmdline
    words = ([f"root={root}"] if root else []) + ([extra] if extra else [])
    return " ".join(words)


def _vifs(settings: Settings) -> tuple[VifConfig, ...]:
    """As in xl, a bad word in one is said, and the interface is made from what came before."""
    found = []
    for spec in settings.items("vif"):
        vif, complaint = parse_vif([spec])
        if complaint is not None:
            settings.warnings.append(complaint)
        found.append(vif)
    return tuple(found)
