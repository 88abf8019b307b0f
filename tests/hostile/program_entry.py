"""The kernel of a hostile program as a bare child of the spawner: it starts the program as the
product does, and passes on what that says."""

import os
import sys
from pathlib import Path

import msgpack

from hvsim.spawn.executable import start
from hvsim.wire.spawn import Spawn

_FOLDER = Path(__file__).parent / "programs"
_SCRIPTS = {name: (_FOLDER / f"{name}.py").read_text() for name in ("escapee", "hoarder")}


def run(conn_fd: int, _upcall_fd: int, spec: Spawn) -> None:
    """The signature of ``hvsim.domain.start.run``; ``args`` has the program's words, and which
    ``script`` it is."""
    if spec.args["words"] == ["idle"]:
        os.read(conn_fd, 1)
        return
    reader, writer = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    script = _SCRIPTS[spec.args.get("script", "escapee")]
    words = [sys.executable, "-c", script, *spec.args["words"]]
    environment = {"PATH": "/usr/bin:/bin"}
    rights = "capabilities" not in spec.without
    counted = spec.args.get("script") != "hoarder"
    stdio = (null, writer, writer)
    pid = start(words, environment, stdio, (), walled=rights, counted=counted)
    os.close(writer)
    said = b""
    while b"\n" not in said:
        piece = os.read(reader, 1 << 16)
        if not piece:
            break
        said += piece
    os.write(conn_fd, msgpack.packb([pid, said.decode(errors="replace")]))
    os.read(conn_fd, 1)
