"""A toolstack whose clock a test can put forward: its ten seconds pass, and nobody sits them out.

::

    with LabHost(tmp_path, toolstack=hasty.PROGRAM) as host:
        ...                                         # something that is waited for in vain
        hasty.wait_out(host, "to reach InitWait", 10.0)

Everything that the toolstack waits for has a limit on the clock of its event loop, which is its
vCPU's; that clock is ahead here by what the test has said so far.
"""

import os
from functools import partial
from pathlib import Path
from typing import Final, cast

from hvsim.domain import loop
from hvsim.domain.domain import Domain
from hvsim.domain.vcpu import VCPU, Handler
from hvsim.lab.control import Control
from hvsim.toolstack.daemon import daemon
from hvsim.wire import control
from hvsim.wire.control import Told, asking
from hvsim.wire.status import Status
from hvsim.wire.typed import read
from tests.support.lab_host import LabHost

PROGRAM: Final = "tests.toolstack.hasty:main"
_AHEAD: Final = "clock-ahead"
"""The file in the run directory that says by how many seconds."""
_LOOK: Final = 0.02
"""Seconds between two looks at it."""


class Ahead:
    """What an event loop wants of a vCPU, with a clock that is ahead."""

    def __init__(self, vcpu: VCPU, told: Path) -> None:
        self._vcpu = vcpu
        self._told = told
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds."""
        return self._vcpu.now() + self._ahead

    def block(self, timeout: float | None = None) -> bool:
        """As ``VCPU.block``, in short pieces."""
        found = self._vcpu.block(_LOOK if timeout is None else min(timeout, _LOOK))
        if self._told.exists():
            self._ahead = float(self._told.read_text())
        return found

    def dispatch(self) -> None:
        """As ``VCPU.dispatch``."""
        self._vcpu.dispatch()

    def add_fd(self, fd: int, handler: Handler) -> None:
        """As ``VCPU.add_fd``."""
        self._vcpu.add_fd(fd, handler)

    def remove_fd(self, fd: int) -> None:
        """As ``VCPU.remove_fd``."""
        self._vcpu.remove_fd(fd)


def main(dom: Domain) -> None:
    """The program of the process."""
    ahead = Ahead(dom.vcpu, Path(str(dom.args["run_dir"])) / _AHEAD)
    loop.run(cast("VCPU", ahead), partial(daemon.serve, dom))


def put_forward(host: LabHost, seconds: float) -> None:
    """The clock of the host's toolstack goes on by so much at once, a moment from now."""
    told = host.run_dir / _AHEAD
    ahead = float(told.read_text()) if told.exists() else 0.0
    part = told.with_suffix(".part")
    part.write_text(str(ahead + seconds))
    os.rename(part, told)


def wait_out(host: LabHost, what: str, seconds: float) -> None:
    """Wait until the toolstack waits for something with *what* in its name; *seconds* pass then."""
    with Control(host.run_dir / "control") as conversation:

        def waits() -> bool:
            conversation.send(asking(control.Status()))
            frame = None
            while not isinstance(frame, Told):
                frame = conversation.receive(1.0)
            tasks = read(Status, frame.status).others
            return any(what in wait.what for task in tasks for wait in task.waits)

        host.wait(waits, f"the toolstack to wait for ...{what}")
    put_forward(host, seconds)
