"""The kernel of a domain whose program is one of this machine: ``program = { exec = [...] }``.

It has the domain's devices, store and console, starts the program as Linux starts init, and speaks
for it: the console is the program's terminal, as /dev/console is init's; the domain ends when it
ends, as powered off when its status is 0, else as crashed.  A shutdown request is SIGTERM for it.
"""

from __future__ import annotations

import os
import signal

from hvsim.domain import Domain
from hvsim.domain.loading import ProgramError
from hvsim.domain.xenbus.door import StoreDoor
from hvsim.spawn.executable import CannotRun, Executable
from hvsim.spawn.program_console import ProgramConsole

TERM_GRACE = 5.0
"""Seconds that the program has to end after SIGTERM, then SIGKILL."""


class ProgramFailed(ProgramError):
    """The domain's program could not be started, or ended with a status that is not 0."""


def main(dom: Domain) -> None:
    """Args: ``exec``, the program and its words; ``env``, more variables of its environment.

    Raises: ProgramFailed, which is the domain's crash.
    """
    argv = [str(word) for word in dom.args["exec"]]
    ended: list[int] = []
    env = {str(k): str(v) for k, v in (dom.args.get("env") or {}).items()}
    try:
        console = ProgramConsole(dom)
        slave = console.slave
        program = Executable(
            dom,
            argv,
            (slave, slave, slave),
            ended.append,
            env={"TERM": "dumb", **_store_door(dom), **env},
            terminal=0,
        )
    except (CannotRun, OSError) as failure:
        raise ProgramFailed(str(failure)) from None
    if dom.has_store and dom.domid != 0:
        dom.ready()

    def stop() -> None:
        program.signal(signal.SIGTERM)
        dom.vcpu.call_later(TERM_GRACE, lambda: program.signal(signal.SIGKILL))

    dom.on_shutdown(stop)
    dom.wait(lambda: bool(ended), None, f"the end of {argv[0]}")
    console.finish()
    status = ended[0]
    asked = dom.shutdown_requested is not None
    if status and not (asked and status in (128 + signal.SIGTERM, 128 + signal.SIGKILL)):
        raise ProgramFailed(f"{argv[0]} {_end(status)}")


def _end(status: int) -> str:
    """What a status as a shell says it means."""
    try:
        return f"was killed by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"ended with status {status}"


def _store_door(dom: Domain) -> dict[str, str]:
    """Let the program use the domain's own connection where the store has no socket for it.

    Returns what tells the program of it.
    """
    if not dom.has_store or dom.spec.store_socket:
        return {}
    try:
        folder = f"/tmp/xenstored-{os.getpid()}"  # not tempfile: it would stay with the spawner
        os.mkdir(folder, 0o700)
        path = os.path.join(folder, "socket")
        StoreDoor(dom.store, dom.vcpu, path, dom.log)
    except OSError as error:
        dom.log(f"the program has no xenstore: {error}")
        return {}
    return {"XENSTORED_PATH": path, "XENSTORED_RUNDIR": folder}
