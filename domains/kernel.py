"""The kernel of a domain whose program is one of this machine: ``program = { exec = [...] }``.

It has the domain's devices, store and console, starts the program as Linux starts init, and speaks
for it: what the program prints goes to the console; the domain ends when it ends, as powered off
when its status is 0, else as crashed.  A shutdown request is SIGTERM for it.
"""

from __future__ import annotations

import codecs
import os
import signal

from hvsim.domain import Domain
from hvsim.domain.executable import CannotRun, Executable
from hvsim.domain.start import ProgramError
from hvsim.domain.xenbus.door import StoreDoor

TERM_GRACE = 5.0
"""Seconds that the program has to end after SIGTERM, then SIGKILL."""
_CHUNK = 4096


class ProgramFailed(ProgramError):
    """The domain's program could not be started, or ended with a status that is not 0."""


def main(dom: Domain) -> None:
    """Args: ``exec``, the program and its words; ``env``, more variables of its environment.

    Raises: ProgramFailed, which is the domain's crash.
    """
    argv = [str(word) for word in dom.args["exec"]]
    ended: list[int] = []
    output = Output(dom)
    env = {str(k): str(v) for k, v in (dom.args.get("env") or {}).items()}
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        program = Executable(
            dom,
            argv,
            (null, output.writer, output.writer),
            ended.append,
            env={**_store_door(dom), **env},
        )
    except (CannotRun, OSError) as failure:
        raise ProgramFailed(str(failure)) from None
    finally:
        os.close(null)
        output.begin()
    if dom.has_store and dom.domid != 0:
        dom.ready()

    def stop() -> None:
        program.signal(signal.SIGTERM)
        dom.vcpu.call_later(TERM_GRACE, lambda: program.signal(signal.SIGKILL))

    dom.on_shutdown(stop)
    dom.wait(lambda: bool(ended), None, f"the end of {argv[0]}")
    output.finish()
    status = ended[0]
    asked = dom.shutdown_requested is not None
    if status and not (asked and status in (128 + signal.SIGTERM, 128 + signal.SIGKILL)):
        raise ProgramFailed(f"{argv[0]} ended with status {status}")


def _store_door(dom: Domain) -> dict[str, str]:
    """Let the program use the domain's own connection where the store has no socket for it.

    Returns what tells the program of it.
    """
    if not dom.has_store or dom.spec.get("store_socket"):
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


class Output:
    """The pipe that a program writes into, and the console that it comes out of."""

    def __init__(self, dom: Domain) -> None:
        self._dom = dom
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writer, True)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def begin(self) -> None:
        """The program has its end: close ours, and listen."""
        os.close(self.writer)
        self._dom.vcpu.add_fd(self._reader, self._readable)

    def finish(self) -> None:
        """The last words."""
        while self._read():
            pass
        if self._line:
            self._dom.log(self._line)
            self._line = ""

    def _readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._dom.vcpu.remove_fd(self._reader)
            return False
        *lines, self._line = (self._line + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._dom.log(line)
        if len(self._line) >= _CHUNK:
            self._dom.log(self._line)
            self._line = ""
        return True
