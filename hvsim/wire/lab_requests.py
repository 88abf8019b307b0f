"""The requests of the control wire that a listing does not make: see ``hvsim.wire.control``."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from hvsim.wire.control import Cancel, Ps, Status, Xl

MAX_SNAPLEN: Final = 262144
"""Bytes of a frame that a capture takes at most."""

Profile = Literal["guest", "driver"]
Restart = Literal["never", "always"]
Walls = Literal["all", "what-there-is"]
File = tuple[str, Literal["r", "rw"]]
"""What a domain's process may open."""
Side = Literal["front", "back"]
"""A half of a device."""


class DeclaredDevice(NamedTuple):
    """A device of a kind that the lab declares.

    Attributes:
        type: its kind.
        devid: its number in the domain that uses it.
        served_by: name of the domain that serves it.
        frontend_keys, backend_keys: further nodes of either half.
        there: it was not detached.
    """

    type: str
    devid: int
    served_by: str
    frontend_keys: Mapping[str, str] = {}
    backend_keys: Mapping[str, str] = {}
    there: bool = True


class Create(NamedTuple):
    """Make a domain of a lab; what is left out is as the lab says of all of them.

    Attributes:
        config: text of the config; *config_path* its name in messages.
        directory: what relative names in it are relative to.
        overrides: further lines.
        images: declared images by name.
        program: "module:function" in place of the config's.
        args: the program's arguments, which alone knows what they mean.
        files: what the domain's process may open.
        path: where its program is looked for.
        devices: of the kinds that the lab declares, those that it uses.
        serves: the kinds of these that it serves.
    """

    config: str
    config_path: str = "config"
    directory: str = "/"
    overrides: Sequence[str] = ()
    images: Mapping[str, str] = {}
    program: str | None = None
    args: Mapping[str, object] = {}
    profile: Profile = "guest"
    files: Sequence[File] = ()
    path: Sequence[str] = ()
    restart: Restart = "never"
    walls: Walls | None = None
    paused: bool = False
    devices: Sequence[DeclaredDevice] = ()
    serves: Sequence[str] = ()


class Started(NamedTuple):
    """Answered once every domain made so far runs."""


class Ready(NamedTuple):
    """Answered once dom0 stands."""


class Stop(NamedTuple):
    """End every domain but dom0; each has *timeout* seconds."""

    timeout: float = 10.0


class Exec(NamedTuple):
    """Start a program of the machine in a domain.

    Attributes:
        argv: its command line.
        stdio: the socket that brings its descriptors.
    """

    domain: str
    argv: Sequence[str]
    stdio: str
    env: Mapping[str, str] = {}
    directory: str = "/"


class Capture(NamedTuple):
    """Start a capture of a vif, read what came, or stop it: the latter two by its number."""

    action: Literal["start", "read", "stop"]
    vif: str = ""
    side: Side = "back"
    snaplen: int = 0
    session: int = -1


class Hotplug(NamedTuple):
    """The usual hotplug script of a device, run by a real xl: ``XENBUS_PATH`` and its word."""

    path: str
    action: str


class Device(NamedTuple):
    """Attach or detach a device of a kind that the lab declares."""

    action: Literal["attach", "detach"]
    domain: str
    device: str
    served_by: str | None = None
    force: bool = False


Asked = Create | Started | Xl | Ps | Ready | Stop | Exec | Capture | Hotplug | Device
Request = Asked | Status | Cancel

VERBS: Final[Mapping[str, type[Request]]] = {
    "create": Create,
    "started": Started,
    "xl": Xl,
    "ps": Ps,
    "ready": Ready,
    "stop": Stop,
    "exec": Exec,
    "capture": Capture,
    "hotplug": Hotplug,
    "device": Device,
    "status": Status,
    "cancel": Cancel,
}
