"""The hypervisor in a process of its own, from its boot config to its end: what every harness that
has one stands on (``LabHost``, ``Hypervisor``, tests/hypervisor/client.py, tests/hostile)."""

import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgpack

ROOT = Path(__file__).resolve().parents[2]


class HypervisorProcess:
    """Started with a boot config; who makes one calls :meth:`end`.

    Args:
        config: the boot config (``hvsim.wire.boot``).
        log: what gets its outputs; those of the tests when there is none.
        session: whether it leads a session of its own.

    Attributes:
        popen: the process.
    """

    def __init__(
        self, config: Mapping[str, Any], log: IO[bytes] | None = None, session: bool = False
    ) -> None:
        told, tell = os.pipe()
        self._notice, hear = os.pipe()
        self.popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "hvsim.hypervisor"),
                *("--config-fd", str(told), "--notice-fd", str(hear)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            pass_fds=(told, hear),
            start_new_session=session,
        )
        os.close(told)
        os.close(hear)
        with open(tell, "wb") as pipe:
            pipe.write(msgpack.packb(config))

    def notice(self, patience: float) -> dict[str, Any]:
        """What it says when it is ready, or why it never will be; asked for once.

        Raises: AssertionError: nothing within *patience* seconds, or its end.
        """
        fd, self._notice = self._notice, -1
        with open(fd, "rb") as pipe:
            assert select.select([pipe], [], [], patience)[0], "the hypervisor says nothing"
            data = pipe.read()
        assert data, "the hypervisor ended without a word"
        found: dict[str, Any] = msgpack.unpackb(data)
        return found

    def end(self, patience: float) -> int:
        """Tell it to end, and wait; its exit status.  It is gone afterwards, whatever happens.

        Raises: subprocess.TimeoutExpired: it had to be killed.
        """
        if self._notice >= 0:
            os.close(self._notice)
            self._notice = -1
        self.popen.terminate()
        try:
            return self.popen.wait(patience)
        finally:
            self.popen.kill()
            self.popen.wait()
