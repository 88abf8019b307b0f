"""Rogue and sibling as bare children of the spawner: the walls without a hypervisor."""

import ctypes
import os
from types import SimpleNamespace
from typing import Any

import msgpack

from hvsim.wire.spawn import Spawn
from tests.hostile.programs import rogue_files, rogue_processes
from tests.hostile.programs.bystanders import SECRET
from tests.hostile.programs.rogue import outcome


def run(conn_fd: int, _upcall_fd: int, spec: Spawn) -> None:
    """The signature of ``hvsim.domain.start.run``."""
    if spec.program == "sibling":
        secret = ctypes.create_string_buffer(SECRET)
        os.write(conn_fd, msgpack.packb(ctypes.addressof(secret)))
        os.read(conn_fd, 1)  # until it is asked whether all is well
        os.write(conn_fd, msgpack.packb(secret.raw[: len(SECRET)] == SECRET))
        os.read(conn_fd, 1)
        return
    scene: Any = SimpleNamespace(facts=spec.args)
    outcomes = {"inherited descriptors": rogue_processes.inherited(scene)}
    for name, attempt in {**rogue_processes.ATTEMPTS, **rogue_files.ATTEMPTS}.items():
        outcomes[name] = outcome(attempt, scene)
    os.write(conn_fd, msgpack.packb(outcomes))
