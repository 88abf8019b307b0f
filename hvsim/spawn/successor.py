"""The first thing that runs in the new program of a store that was updated live.

It has the pid and the descriptors of the old one; nothing was spawned.
"""

from __future__ import annotations

import os
import sys

from hvsim.domain import start
from hvsim.linux import syscalls
from hvsim.wire.descriptors import CONN_FD, UPCALL_FD
from hvsim.wire.packing import unpack
from hvsim.wire.spawn import SpawnSpec


def main() -> None:
    """Take over what stands in the memfd whose number is the only argument."""
    fd = int(sys.argv[1])
    for kept in (CONN_FD, UPCALL_FD):
        os.set_inheritable(kept, False)
    with open(fd, "rb") as state_file:
        state = unpack(state_file.read())
    spec = state["spec"]
    syscalls.set_name(SpawnSpec.parse(spec).title)
    spec["args"] = {**spec.get("args", {}), "recover": True, "servers": state["servers"]}
    start.run(CONN_FD, UPCALL_FD, spec)


if __name__ == "__main__":
    main()
