"""One of Xen's own daemons in dom0: this process starts it, and is the kernel below it.

Its arguments (``dom.args``): ``exec``, the program and its words; ``env``, what its environment has
beside that of every program of dom0.  The process ends when the daemon does.
"""

from __future__ import annotations

from hvsim.domain import Domain
from hvsim.domain.executable import Executable


def main(dom: Domain) -> None:
    """Run the daemon and serve its device nodes until it ends.

    Raises: CannotRun, OSError when it cannot be started; SystemExit with its status.
    """
    ended: list[int] = []
    argv = [str(word) for word in dom.args["exec"]]
    env = {str(key): str(value) for key, value in (dom.args.get("env") or {}).items()}
    Executable(dom, argv, (0, 1, 2), ended.append, env=env)
    dom.wait(lambda: bool(ended), None, f"the end of {argv[0]}")
    dom.log(f"{argv[0]} has ended with status {ended[0]}")
    raise SystemExit(ended[0])
