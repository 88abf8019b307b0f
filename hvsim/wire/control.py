"""The control wire: what the toolstack of a lab is asked, and what it answers.

A request is one map with a ``verb`` and the fields of one of the messages below; the answer is a
row of maps, :class:`Out` and :class:`Err` as they come, :class:`Exit` last.  A client has one
request under way; :class:`Cancel` ends it, and so does hanging up.  Who hears nothing for a while
asks with :class:`Status`, and is told at once, between the maps of the answer.

Plain named tuples: who types a listing waits for all that this imports.  The toolstack, which takes
nothing on trust, checks what comes against the types here (``hvsim.wire.requests``).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from hvsim.wire.bad import BadMessage

MAX_SNAPLEN: Final = 262144
"""Bytes of a frame that a capture takes at most."""

Profile = Literal["guest", "driver"]
Restart = Literal["never", "always"]
Walls = Literal["all", "what-there-is"]
File = tuple[str, Literal["r", "rw"]]
"""What a domain's process may open."""
Side = Literal["front", "back"]
"""A half of a device."""

# -- requests --------------------------------------------------------------------------------------


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


class Xl(NamedTuple):
    """A command line of xl's, typed in directory *cwd*; *json*: a listing in JSON."""

    argv: Sequence[str]
    cwd: str = "/"
    json: bool = False


class Ps(NamedTuple):
    """The picture of the host."""


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


class Status(NamedTuple):
    """What is being done; *asked* comes back with the answer."""

    asked: int = 0


class Cancel(NamedTuple):
    """Nobody wants the request any more that is under way."""


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
_NAMES: Final = {kind: verb for verb, kind in VERBS.items()}


def verb_of(request: Request) -> str:
    """The name of what is asked."""
    return _NAMES[type(request)]


def asking(request: Request) -> dict[str, object]:
    """The map that asks."""
    return {"verb": verb_of(request), **request._asdict()}


# -- answers ---------------------------------------------------------------------------------------


class Out(NamedTuple):
    """Text for standard output."""

    out: str


class Err(NamedTuple):
    """Text for standard error."""

    err: str


class Told(NamedTuple):
    """What the toolstack is doing, as ``hvsim.wire.status`` says it."""

    status: object
    asked: int


class Exit(NamedTuple):
    """The end of the answer: the exit code, and what the verb found."""

    exit: int
    data: object = None


Frame = Out | Err | Told | Exit


def frame(raw: object) -> Frame:
    """One map of an answer.  Raises: BadMessage."""
    match raw:
        case {"out": str(text)}:
            return Out(text)
        case {"err": str(text)}:
            return Err(text)
        case {"exit": int(code), "data": data}:
            return Exit(code, data)
        case {"status": status, "asked": int(asked)}:
            return Told(status, asked)
    raise BadMessage(f"the answer {str(raw)[:200]!r} is none of out, err, status and exit")
