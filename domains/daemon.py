"""One of Xen's own daemons in dom0: this process starts it, and is the kernel below it.

Its arguments (``dom.args``): ``exec``, the program and its words; ``env``, what its environment has
beside that of every program of dom0; ``images``, paths that it serves, each with whether it only
reads it.  The process ends when the daemon does.
"""

from __future__ import annotations

import contextlib

from hvsim.domain import Domain
from hvsim.drivers.block import lock
from hvsim.spawn.executable import Executable


def main(dom: Domain) -> None:
    """Run the daemon and serve its device nodes until it ends.

    Raises: CannotRun, OSError when it cannot be started; SystemExit with its status.
    """
    for path, readonly in dom.args.get("images") or ():
        hold(dom, str(path), bool(readonly))
    ended: list[int] = []
    argv = [str(word) for word in dom.args["exec"]]
    env = {str(key): str(value) for key, value in (dom.args.get("env") or {}).items()}
    Executable(dom, argv, (0, 1, 2), ended.append, env=env)
    dom.wait(lambda: bool(ended), None, f"the end of {argv[0]}")
    dom.log(f"{argv[0]} has ended with status {ended[0]}")
    raise SystemExit(ended[0])


def hold(dom: Domain, path: str, readonly: bool) -> int:
    """Lock an image for our lab as long as the descriptor that this returns is open; -1 for none.
    The toolstack has asked whether we may; QEMU's own locks are off for Xen's disks."""
    owner = lock.owner_in(dom.args)
    if owner is not None:
        with contextlib.suppress(OSError):  # no locks there: the toolstack's word is all there is
            return lock.claim(path, owner, readonly=readonly, shared=True)
    return -1
