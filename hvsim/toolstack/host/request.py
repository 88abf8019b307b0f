"""What a domain is made from: what was asked for, and what the lab says of all of them."""

from dataclasses import dataclass, field
from typing import Any, Self

from hvsim.toolstack.host.declaration import Declaration, DeclaredDevice
from hvsim.toolstack.host.errors import ToolstackError


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

    @classmethod
    def parse(cls, raw: object) -> Self:
        """From the toolstack's arguments; what is not there is empty."""
        if not isinstance(raw, dict):
            return cls()
        images, files, path = (raw.get(key) for key in ("images", "files", "path"))
        shared = raw.get("shared")
        return cls(
            images={str(k): str(v) for k, v in images.items()} if isinstance(images, dict) else {},
            files=tuple((str(f[0]), str(f[1])) for f in files or () if len(f) == 2),
            path=tuple(str(entry) for entry in path or ()),
            shared=tuple(str(entry) for entry in shared or ()),
            walls=str(raw.get("walls") or "all"),
            devices=tuple(Declaration.parse(row) for row in raw.get("devices") or ()),
        )


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


def parse(raw: dict[str, object], defaults: Defaults) -> CreateRequest:
    """A request as it came over the control wire; missing parts are the lab's defaults.

    Raises: ToolstackError that names the part which is wrong.
    """

    def text(key: str, default: str | None = None) -> str:
        value = raw.get(key, default)
        if not isinstance(value, str):
            raise ToolstackError(f"create: {key!r} must be text, not {value!r}")
        return value

    def rows(key: str) -> list[object]:
        value = raw.get(key) or []
        if not isinstance(value, list):
            raise ToolstackError(f"create: {key!r} must be a list, not {value!r}")
        return value

    def table(key: str) -> dict[str, object]:
        value = raw.get(key) or {}
        if not isinstance(value, dict):
            raise ToolstackError(f"create: {key!r} must be a table, not {value!r}")
        return value

    files: list[tuple[str, str]] = []
    for entry in rows("files"):
        if not (isinstance(entry, list) and len(entry) == 2 and entry[1] in ("r", "rw")):
            raise ToolstackError(f'create: an entry of files must be [path, "r" or "rw"]: {entry}')
        files.append((str(entry[0]), str(entry[1])))
    profile = text("profile", "guest")
    if profile not in ("guest", "driver"):
        raise ToolstackError(f"create: profile {profile!r} is neither guest nor driver")
    restart = text("restart", "never")
    if restart not in ("never", "always"):
        raise ToolstackError(f"create: restart {restart!r} is neither never nor always")
    devices = [_device(row) for row in rows("devices")]
    program = raw.get("program")
    return CreateRequest(
        config=text("config"),
        config_path=text("config_path", "config"),
        directory=text("directory", "/"),
        overrides=tuple(str(line) for line in rows("overrides")),
        images={**defaults.images, **{k: str(v) for k, v in table("images").items()}},
        program=str(program) if program else None,
        args=table("args"),
        profile=profile,
        files=tuple(files) or (defaults.files if profile == "driver" else ()),
        path=tuple(str(path) for path in rows("path")) or defaults.path,
        restart=restart,
        walls=text("walls", defaults.walls),
        paused=bool(raw.get("paused")),
        devices=tuple(devices),
        serves=tuple(str(kind) for kind in rows("serves")),
    )


def _device(raw: object) -> DeclaredDevice:
    try:
        return DeclaredDevice.parse(raw if isinstance(raw, dict) else {})
    except (KeyError, ValueError) as wrong:
        raise ToolstackError(f"create: an entry of devices: {wrong} in {raw!r}") from None
