"""A lab file as frozen values: what `hvsim validate` has approved and `hvsim up` carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvsim.lab.builtin import BUILTIN
from hvsim.lab.devices import LabDevice
from hvsim.lab.problems import Problem
from hvsim.names import address
from hvsim.toolstack.config import DomainConfig
from hvsim.wire.lab_requests import File, Profile, Restart, Walls
from hvsim.wire.walls import WHAT_THERE_IS

if TYPE_CHECKING:
    from hvsim.wire.boot import EventMode

XlValue = str | int | list[str]


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image. `name` is its spelling in the lab file and in the guests' disk lines."""

    name: str
    path: Path
    """Where it stands; for a scratch image, where it would stand next to the lab file."""
    size: int | None = None
    """Bytes; None: the image exists already and keeps its size."""
    scratch: bool = False
    format: str = "raw"
    """What it is made as: "raw" or "qcow2"."""
    shared: bool = False
    """Several disks may have it at a time, and write to it."""

    def location(self, images_dir: Path) -> Path:
        """The image's path in a running lab whose scratch images live in `images_dir`."""
        return images_dir / self.path.name if self.scratch else self.path


@dataclass(frozen=True, slots=True)
class Disk:
    """What the lab needs to know of one disk line of a guest."""

    target: str
    backend: str
    """Name of the domain that serves the disk; "" or "Domain-0" means dom0."""
    vdev: str
    readonly: bool
    qemu: bool = False
    """QEMU serves it, for its format or because it was asked for."""
    shared: bool = False
    """Its own line says that others may have the image as well (access=w!)."""


@dataclass(frozen=True, slots=True)
class Vif:
    """What the lab needs to know of one vif line of a guest."""

    mac: str | None
    backend: str
    """Name of the domain that serves it; "" or "Domain-0" means dom0."""
    ip: str | None


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain to create, in the words of the control wire's "create" request."""

    name: str
    config: str
    """Text of the xl.cfg (for an inline domain: written from its keys)."""
    config_path: str
    """The config's path; for an inline domain, the lab file and the domain's place in it."""
    directory: Path
    overrides: tuple[str, ...] = ()
    """xl.cfg lines that replace those of the config."""
    role: Profile = "guest"
    restart: Restart = "never"
    program: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    disks: tuple[Disk, ...] = ()
    vifs: tuple[Vif, ...] = ()
    memory: int = 0
    """MiB, as parsed from the config."""
    guest: DomainConfig | None = None
    """The config as parsed."""
    walls: Walls = "all"
    """"all": it starts with all of its walls or not at all; "what-there-is"."""

    @property
    def is_driver(self) -> bool:
        """Does this domain serve devices to others?"""
        return self.role == "driver"


@dataclass(frozen=True, slots=True)
class LabFault:
    """A rule of a fault, as it stands at `line` of the file; its words mean nothing here."""

    line: int
    words: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab file."""

    name: str
    file: Path
    memory: int
    """MiB of machine memory."""
    cpus: int
    trace: bool
    seed: int
    event_mode: EventMode
    images: tuple[Image, ...]
    domains: tuple[Domain, ...]
    devices: tuple[LabDevice, ...] = ()
    """Those of the lab's own kinds."""
    handshake: str = "record"
    """"record": what breaks the rules of a device's handshake is noted; "strict": refused."""
    store_quota: Mapping[str, int] = field(default_factory=dict)
    """Limits of the store that differ from the defaults, by the names of ``control quota``."""
    store: str = BUILTIN
    """BUILTIN, or the real daemon that is the store: "xenstored" or "oxenstored"."""
    console: str = BUILTIN
    """BUILTIN, or "xenconsoled": the real daemon that serves the consoles."""
    warnings: tuple[Problem, ...] = ()
    """What was said of the file and the guests' configs, and does not forbid them."""

    faults: tuple[LabFault, ...] = ()
    """Rules that stand from before the first domain runs."""
    walls: Walls = "all"
    """As ``Domain.walls``, for those whose table says nothing and those made by hand."""

    def with_what_there_is(self) -> Lab:
        """The same, whose domains start with the walls that this machine allows."""
        domains = tuple(replace(domain, walls=WHAT_THERE_IS) for domain in self.domains)
        return replace(self, walls=WHAT_THERE_IS, domains=domains)

    @property
    def creation_order(self) -> tuple[Domain, ...]:
        """Driver domains first, as a guest cannot be attached to a backend that is not there."""
        return tuple(sorted(self.domains, key=lambda domain: not domain.is_driver))

    @property
    def hosts(self) -> dict[str, str]:
        """The names of guests that have an address -> the first one, without its length."""
        return {
            domain.name: first
            for domain in self.domains
            for vif in domain.vifs[:1]
            if (first := address.first(vif.ip)) is not None
        }

    def image_paths(self, images_dir: Path) -> dict[str, str]:
        """Every declared image: its spelling in disk lines -> its absolute path."""
        return {image.name: str(image.location(images_dir)) for image in self.images}


DEFAULT_MEMORY = 8192
DEFAULT_CPUS = 4


_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def render_value(value: XlValue) -> str:
    """A value as xl.cfg(5) writes it: 64, "text", ["a", "b"]. Raises ValueError if it cannot."""
    if isinstance(value, int):
        return str(int(value)) if value >= 0 else f'"{value}"'
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError(f"{value!r} has a NUL character, xl.cfg cannot say that")
        return '"' + value.translate(_ESCAPES) + '"'
    return "[" + ", ".join(render_value(item) for item in value) + "]"


def render_lines(values: Mapping[str, XlValue]) -> tuple[str, ...]:
    """xl.cfg(5) lines for `values`, one key each."""
    return tuple(f"{key} = {render_value(value)}" for key, value in values.items())
