"""The messages of ``hvsim exec``: what crosses the wire, and what is refused by its field.

Red with a bound taken away from a type, and without ``builtin_types`` in ``typed.read`` (then a
text is taken for bytes in base64).
"""

from collections.abc import Callable

import msgpack
import pytest

from hvsim.wire import execution
from hvsim.wire.execution import (
    MESSAGE_MAX,
    WINDOW,
    Begin,
    Exited,
    Failed,
    Resized,
    Shown,
    Signalled,
    Took,
    Typed,
)
from hvsim.wire.typed import BadMessage, Word

MODES = (1, 2, 3, 4, 5, 6, (b"\x03", b"\x1c", 0, 1))
SAID: list[tuple[Word, list[object], Callable[[bytes], object]]] = [
    (Typed(b"\xff\n"), ["in", b"\xff\n"], execution.from_command),
    (Resized(24, 80), ["size", 24, 80], execution.from_command),
    (Signalled(2), ["signal", 2], execution.from_command),
    (Shown(b"\x00"), ["out", b"\x00"], execution.from_program),
    (Took(7), ["took", 7], execution.from_program),
    (Exited(0), ["exit", 0], execution.from_program),
    (Failed(127, "no\udcff"), ["failed", 127, "no\udcff"], execution.from_program),
]


@pytest.mark.parametrize(("message", "raw", "read"), SAID, ids=lambda value: repr(value)[:20])
def test_what_crosses_the_wire(
    message: Word, raw: list[object], read: Callable[[bytes], object]
) -> None:
    data = execution.packed(message)
    assert msgpack.unpackb(data, unicode_errors="surrogateescape") == raw
    assert read(data) == message


@pytest.mark.parametrize(
    "message",
    [
        Begin(streams=("given", "terminal", "given")),
        Begin(streams=("terminal",) * 3, modes=MODES, size=(24, 80)),
    ],
)
def test_the_first_message(message: Begin) -> None:
    assert execution.begin(execution.packed(message)) == message


@pytest.mark.parametrize(
    ("raw", "read", "words"),
    [
        ({}, execution.begin, "missing required field `streams`"),
        ({"streams": ["given"] * 2}, execution.begin, "^streams: .*length 3"),
        ({"streams": ["given", "x", "given"]}, execution.begin, r"^streams\[1\]: .*'x'"),
        ({"streams": ["given"] * 3, "size": [1]}, execution.begin, "^size: "),
        ({"streams": ["given"] * 3, "modes": [1, 2]}, execution.begin, "^modes: "),
        ({"streams": ["given"] * 3, "more": 1}, execution.begin, "unknown field `more`"),
        (["in", "text"], execution.from_command, r"^\[1\]: Expected `bytes`, got `str`"),
        (["in", b"", 1], execution.from_command, "at most length"),
        (["signal", 0], execution.from_command, r"^\[1\]: "),
        (["signal", 65], execution.from_command, r"^\[1\]: "),
        (["size", "x", 1], execution.from_command, r"^\[1\]: "),
        (["out", b""], execution.from_command, "'out'"),
        (["exit", 256], execution.from_program, r"^\[1\]: .*255"),
        (["exit", True], execution.from_program, r"^\[1\]: "),
        (["took", WINDOW + 1], execution.from_program, r"^\[1\]: "),
        (["took", 0], execution.from_program, r"^\[1\]: "),
        (["failed", 1], execution.from_program, "length"),
        (7, execution.from_program, "Expected `array`, got `int`"),
        (["out", bytes(MESSAGE_MAX)], execution.from_program, "more than 16384 bytes"),
    ],
)
def test_what_is_refused_names_the_field(
    raw: object, read: Callable[[bytes], object], words: str
) -> None:
    with pytest.raises(BadMessage, match=words):
        read(msgpack.packb(raw))


def test_what_is_no_msgpack() -> None:
    for read in (execution.begin, execution.from_command, execution.from_program):
        with pytest.raises(BadMessage, match=r"^no message"):
            read(b"\xc1\xff")
