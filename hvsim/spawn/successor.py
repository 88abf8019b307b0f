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
from hvsim.wire.spawn import Spawn
from hvsim.wire.typed import changed, read


def main() -> None:
    """Take over what stands in the memfd whose number is the only argument."""
    fd = int(sys.argv[1])
    for kept in (CONN_FD, UPCALL_FD):
        os.set_inheritable(kept, False)
    with open(fd, "rb") as state_file:
        state = unpack(state_file.read())
    spec = read(Spawn, state["spec"])
    syscalls.set_name(spec.title)
    more = {"recover": True, "servers": state["servers"]}
    start.run(CONN_FD, UPCALL_FD, changed(spec, args={**spec.args, **more}))


if __name__ == "__main__":
    main()
