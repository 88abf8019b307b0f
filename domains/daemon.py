"""One of Xen's own daemons as a process of dom0: this process becomes that program.

Its arguments (``dom.args``): ``exec``, the program and its words; ``env``, what its environment has
beside that of every program of dom0.  The program keeps the process's hypercall connection as its
door, through which the node library gets it one of its own.
"""

from __future__ import annotations

import os
import signal
import sys

from hvsim.domain import Domain, executable
from hvsim.domain.executable import Door
from hvsim.domain.sandbox.descriptors import CONN_FD


def main(dom: Domain) -> None:
    """Execute the program; does not return.

    Raises: OSError when it cannot be executed.
    """
    argv = [str(word) for word in dom.args["exec"]]
    door = Door.over(CONN_FD)
    env = executable.environment(dom.domid, "Domain-0", None, door, dict(dom.args.get("env") or {}))
    for fd in (door.connection, door.lock):
        os.set_inheritable(fd, True)
    sys.stdout.flush()
    sys.stderr.flush()
    for which in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(which, signal.SIG_DFL)  # Python ignores them, and a program inherits that
    os.execve(argv[0], argv, env)
