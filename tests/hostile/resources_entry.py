"""A domain that hoards, as a bare child of the spawner."""

import os

import msgpack

from hvsim.wire.spawn import Spawn
from tests.hostile.programs import hoarder


def run(conn_fd: int, _upcall_fd: int, spec: Spawn) -> None:
    """The signature of ``hvsim.domain.start.run``."""
    os.write(conn_fd, msgpack.packb(hoarder.hoard(spec.args.get("names", []))))
    os.read(conn_fd, 1)
