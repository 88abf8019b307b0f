"""The control wire: what the toolstack of a lab is asked, and what it answers.

A request is one map with a ``verb`` and the fields of one of the messages below, or of those in
``hvsim.wire.lab_requests``; the answer is a row of maps, :class:`Out` and :class:`Err` as they
come, :class:`Exit` last.  A client has one request under way; :class:`Cancel` ends it, and so does
hanging up.  Who hears nothing for a while asks with :class:`Status`, and is told at once, between
the maps of the answer.

Plain named tuples, and few: who types a listing waits for all that this imports.  The toolstack,
which takes nothing on trust, checks what comes against the types (``hvsim.wire.requests``).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hvsim.wire.bad import BadMessage

if TYPE_CHECKING:
    from typing import Protocol

    class Request(Protocol):
        """Any of them."""

        def _asdict(self) -> dict[str, Any]: ...


# -- requests --------------------------------------------------------------------------------------


class Xl(NamedTuple):
    """A command line of xl's, typed in directory *cwd*; *json*: a listing in JSON."""

    argv: Sequence[str]
    cwd: str = "/"
    json: bool = False


class Ps(NamedTuple):
    """The picture of the host."""


class Status(NamedTuple):
    """What is being done; *asked* comes back with the answer."""

    asked: int = 0


class Cancel(NamedTuple):
    """Nobody wants the request any more that is under way."""


def verb_of(request: "Request") -> str:
    """The name of what is asked: that of its class."""
    return type(request).__name__.lower()


def asking(request: "Request") -> dict[str, object]:
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
