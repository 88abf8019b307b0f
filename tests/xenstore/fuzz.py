"""Malformed frames by the thousand at a store that is a process of its own."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Iterator

from hvsim.abi import xs_wire
from hvsim.xs.blocking import SocketStore, connect

BATCH = 50
"""Frames that one connection sends at once."""

_FRAGMENTS = (
    b"",
    b"\0",
    b"/",
    b"/a\0",
    b"a/b\0",
    b"/a/b/c\0",
    b"@releaseDomain\0",
    b"@\0",
    b"n0\0",
    b"b1\0",
    b"x",
    b"T\0",
    b"F\0",
    b"\xff\xfe\0",
    b"0\0",
    b"1\0",
    b"9" * 30 + b"\0",
    b"-1\0",
    b"//\0",
    b"/a/\0",
    b"quota\0",
    b"set\0",
    b"help\0",
    b"check\0",
    b"/" + b"y" * 2100 + b"\0",
    b"z" * 3000,
)
_LENGTHS = (0, -1, 1, 2, 16, 5000, 2**31, 2**32 - 1)
"""How far a length may be off."""


def frame(draw: random.Random, off: int = 0) -> bytes:
    """One frame with something wrong in type, transaction or payload, as a rule; its length is
    *off* by so much."""
    type = draw.choice((draw.randrange(25), draw.randrange(25), draw.randrange(2**32)))
    payload = b"".join(draw.choices(_FRAGMENTS, k=draw.randrange(5)))
    if not draw.randrange(8):
        payload = draw.randbytes(draw.randrange(60))
    length = max(0, len(payload) + off) & 0xFFFFFFFF
    tx = draw.choice((0, 0, 0, 1, 2, 2**32 - 1))
    return xs_wire.XSD_SOCKMSG.struct.pack(type, draw.randrange(2**32), tx, length) + payload


def batches(seed: int, frames: int) -> Iterator[bytes]:
    """*frames* frames.  Behind a wrong length nothing is a frame any more, so it is a batch's last
    one that has it."""
    draw = random.Random(seed)
    for _ in range(frames // BATCH):
        good = [frame(draw) for _ in range(BATCH - 1)]
        yield b"".join([*good, frame(draw, draw.choice(_LENGTHS))])


def resident(path: str) -> int:
    """Bytes of memory of the process that listens at *path*."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
        found = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, _, _ = struct.unpack("3i", found)
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def attack(path: str, seed: int, frames: int) -> None:
    """Send *frames* bad frames over ever new connections; a client that means well works all the
    while, and must be answered rightly and told of its own changes."""
    seen: list[str] = []
    with connect(path) as good:
        good.watch("/good", seen.append)
        for number, data in enumerate(batches(seed, frames)):
            _throw(path, data)
            _work(good, str(number))
            while len(seen) < number + 2:  # the registration is the first
                assert good.poll(20), "an event did not come"
        assert set(seen) == {"/good", "/good/key"}
        assert len(seen) == frames // BATCH + 1


def _throw(path: str, data: bytes) -> None:
    """Send it, and read what comes until the store ends the connection."""
    with socket.socket(socket.AF_UNIX) as bad:
        bad.settimeout(20)
        bad.connect(path)
        with contextlib.suppress(ConnectionError):  # it did not want to hear the rest
            bad.sendall(data)
            bad.shutdown(socket.SHUT_WR)
            while bad.recv(1 << 20):
                pass


def _work(good: SocketStore, value: str) -> None:
    good.write("/good/key", value)
    assert good.read("/good/key") == value
