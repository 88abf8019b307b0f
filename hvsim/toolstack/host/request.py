"""What a domain is made from: what was asked for, and what the lab says of all of them."""

from dataclasses import dataclass, field
from typing import Any

from hvsim.toolstack.host.declaration import Declaration
from hvsim.wire.lab_requests import Create, DeclaredDevice


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the lab said about every domain made by hand.

    Attributes:
        images: declared images by name.
        files: files that driver domains may open.
        path: where programs are looked for.
        shared: images that several disks may have at a time.
        walls: "all", or "what-there-is".
        devices: the kinds of devices that the lab declares.
    """

    images: dict[str, str] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    walls: str = "all"
    devices: tuple[Declaration, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """All that a domain is made from, kept so that it can be made again.

    Attributes:
        config: text of the config; *config_path* its name in messages.
        directory: what relative names in it are relative to.
        overrides: further lines.
        images: declared images by name.
        program: "module:function" in place of the config's.
        args: the program's arguments.
        profile: "guest" or "driver".
        files: what the domain's process may open, with "r" or "rw".
        path: where its program is looked for.
        restart: "always" or "never".
        walls: "all": it starts with all of its walls or not at all; "what-there-is".
        devices: of the kinds that the lab declares, those that it uses.
        serves: the kinds of these that it serves.
    """

    config: str
    config_path: str
    directory: str
    overrides: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)
    program: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    profile: str = "guest"
    files: tuple[tuple[str, str], ...] = ()
    path: tuple[str, ...] = ()
    restart: str = "never"
    walls: str = "all"
    paused: bool = False
    devices: tuple[DeclaredDevice, ...] = ()
    serves: tuple[str, ...] = ()


def completed(asked: Create, defaults: Defaults) -> CreateRequest:
    """What was asked for; missing parts are the lab's defaults."""
    return CreateRequest(
        config=asked.config,
        config_path=asked.config_path,
        directory=asked.directory,
        overrides=tuple(asked.overrides),
        images={**defaults.images, **asked.images},
        program=asked.program or None,
        args=dict(asked.args),
        profile=asked.profile,
        files=tuple(asked.files) or (defaults.files if asked.profile == "driver" else ()),
        path=tuple(asked.path) or defaults.path,
        restart=asked.restart,
        walls=asked.walls or defaults.walls,
        paused=asked.paused,
        devices=tuple(asked.devices),
        serves=tuple(asked.serves),
    )
