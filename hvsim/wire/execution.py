"""The wire of ``hvsim exec``: between the command that a person typed and the process that runs a
program in a domain.  One ``SOCK_SEQPACKET`` connection, msgpack, one message a packet.

The command begins with :class:`Begin` and the descriptors of those streams that are given; then
each side says what it has to say: ``["in", bytes]``, ``["exit", status]``.

Neither side holds a descriptor of the other's but those streams of the program that are "given":
files, pipes and sockets of the person's.  Each side takes the other for hostile.
"""

from __future__ import annotations

import signal
from typing import Annotated, Final, Literal

from msgspec import Meta

from hvsim.wire.packing import MALFORMED, pack, unpack
from hvsim.wire.typed import BadMessage, Message, Word, read, words, write

GIVEN: Final = "given"
"""A stream whose descriptor came with the message."""
TERMINAL: Final = "terminal"
"""A stream that is the program's own terminal, made in the domain."""

MESSAGE_MAX: Final = 16 * 1024
"""Bytes of a message."""
CHUNK: Final = 4096
"""Bytes that "in" and "out" carry at most."""
WINDOW: Final = 64 * 1024
"""Bytes of "in" that may be on their way; whoever sends more is not served."""

Stream = Literal["given", "terminal"]
Status = Annotated[int, Meta(ge=0, le=255)]
Modes = tuple[int, int, int, int, int, int, tuple[bytes | int, ...]]
"""Of a terminal, as ``termios.tcgetattr`` has them."""


class Begin(Message, frozen=True):
    """What the program's 0, 1, 2 are, and what the person's terminal is like, if there is one.

    Attributes:
        size: rows and columns.
    """

    streams: tuple[Stream, Stream, Stream]
    modes: Modes | None = None
    size: tuple[int, int] | None = None


class Typed(Word, frozen=True, tag="in"):
    """Bytes for the program's terminal."""

    data: bytes


class Resized(Word, frozen=True, tag="size"):
    """The person's window has this size."""

    rows: int
    columns: int


class Signalled(Word, frozen=True, tag="signal"):
    """A signal for the program."""

    number: Annotated[int, Meta(gt=0, lt=signal.NSIG)]


class Shown(Word, frozen=True, tag="out"):
    """What the program's terminal shows."""

    data: bytes


class Took(Word, frozen=True, tag="took"):
    """So many bytes of what was typed have found room."""

    count: Annotated[int, Meta(gt=0, le=WINDOW)]


class Exited(Word, frozen=True, tag="exit"):
    """The program has ended."""

    status: Status


class Failed(Word, frozen=True, tag="failed"):
    """The program could not be begun."""

    status: Status
    text: str


FromCommand = Typed | Resized | Signalled
FromProgram = Shown | Took | Exited | Failed


def packed(message: Begin | Word) -> bytes:
    """One message, as it is sent."""
    return pack(write(message) if isinstance(message, Begin) else words(message))


def begin(data: bytes) -> Begin:
    """The first message.  Raises: BadMessage."""
    return read(Begin, _unpacked(data))


def from_command(data: bytes) -> FromCommand:
    """A later one, in the domain.  Raises: BadMessage."""
    said: FromCommand = read(FromCommand, _unpacked(data))  # type: ignore[arg-type]  # a union
    return said


def from_program(data: bytes) -> FromProgram:
    """What came from the domain.  Raises: BadMessage."""
    said: FromProgram = read(FromProgram, _unpacked(data))  # type: ignore[arg-type]  # a union
    return said


def _unpacked(data: bytes) -> object:
    if len(data) > MESSAGE_MAX:
        raise BadMessage(f"a message of more than {MESSAGE_MAX} bytes")
    try:
        value: object = unpack(data)
    except MALFORMED as wrong:
        raise BadMessage(f"no message ({wrong})") from None
    return value
