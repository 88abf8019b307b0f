"""What a rogue looks for outside: a disk image, sockets with a path, an abstract socket."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def bait(directory: Path) -> Iterator[dict[str, Any]]:
    """Lay it all out; yields the facts for the rogue."""
    image = directory / "foreign.img"
    image.write_bytes(bytes(4096))
    with ExitStack() as stack:
        # A socket's path has at most 107 bytes; pytest's directories are longer.
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hvsim-")))
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(short / "socket"))
        listener.listen()
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagram.bind(str(short / "datagram"))
        abstract = f"hvsim-bait-{os.getpid()}"
        named = stack.enter_context(socket.socket(socket.AF_UNIX))
        named.bind(b"\0" + abstract.encode())
        named.listen()
        yield {
            "image": str(image),
            "socket": str(short / "socket"),
            "datagram": str(short / "datagram"),
            "abstract": abstract,
        }
