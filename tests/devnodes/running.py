"""Programs of the machine that run as domains of a test, without a lab.

::

    with Hypervisor(tmp_path) as hv, Programs(hv) as programs:
        guest = hv.domain()
        done = programs.run(guest, ["prog", "arg"])

The test's own process stands for the kernels of all its domains: it runs their vCPU loops while it
waits.  So what is tested is the library, the nodes and the hypervisor, and no walls.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hvsim.devnodes.server import NodeServer
from hvsim.domain.domain import Domain
from hvsim.wire.closing import Closing
from tests.support import optional
from tests.support.hv import Hypervisor

TIMEOUT = 60.0
HERE = Path(__file__).parent


def build(tmp_path: Path, name: str, *arguments: str) -> str:
    """Compile a program of tests/devnodes/programs, one file or a folder of them; skips the test
    without compiler."""
    out = str(tmp_path / name)
    folder = HERE / "programs"
    sources = sorted((folder / name).glob("*.c")) or [folder / f"{name}.c"]
    flags = ["-O1", "-std=gnu11", "-Wall", "-Wextra", f"-I{folder}"]
    command = [optional.compiler(), *flags, "-o", out, *map(str, sources), *arguments]
    subprocess.run(command, check=True, timeout=TIMEOUT)
    return out


@dataclass
class Running:
    """A program, the server of its nodes, and its domain."""

    domain: Domain
    process: subprocess.Popen[bytes]
    server: NodeServer

    def stop(self) -> None:
        """Kill it, if it runs; what it left is taken back by its kernel, not here."""
        self.process.kill()
        self.process.wait()


class Programs(Closing):
    """Starts programs in domains and runs the loops of those; a context manager."""

    def __init__(self, hv: Hypervisor) -> None:
        self._hv = hv
        self._running: list[Running] = []

    def close(self) -> None:
        """Stop what still runs."""
        for running in self._running:
            running.stop()
            for stream in (running.process.stdin, running.process.stdout, running.process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            running.server.close()

    def start(
        self,
        domain: Domain,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.STDOUT,
        user: int | None = None,
    ) -> Running:
        """Start a program in a domain, with nodes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = NodeServer(domain, ours)
        with theirs:
            process = subprocess.Popen(
                argv,
                env={
                    "PATH": os.environ["PATH"],
                    "LD_PRELOAD": str(optional.node_library()),
                    "HVSIM_DOOR": str(theirs.fileno()),
                    "XEN_DOMID": str(domain.domid),
                    **(env or {}),
                },
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(theirs.fileno(),),
                user=user,
            )
        running = Running(domain, process, server)
        self._running.append(running)
        return running

    def run(self, domain: Domain, argv: Sequence[str], **more: object) -> tuple[int, str]:
        """Start a program and see it to its end: exit status, and what it wrote."""
        running = self.start(domain, argv, **more)  # type: ignore[arg-type]
        output = b""
        stream = running.process.stdout
        assert stream is not None
        os.set_blocking(stream.fileno(), False)

        def ended() -> bool:
            nonlocal output
            with contextlib.suppress(BlockingIOError):
                while chunk := os.read(stream.fileno(), 65536):
                    output += chunk
            return running.process.poll() is not None

        self.until(ended, f"the end of {argv[0]}")
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(stream.fileno(), 65536):
                output += chunk
        return running.process.returncode, output.decode(errors="replace")

    def lines(self, running: Running, count: int) -> list[str]:
        """The first lines that a program writes."""
        stream = running.process.stdout
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
        text = b""

        def complete() -> bool:
            nonlocal text
            with contextlib.suppress(BlockingIOError):
                text += os.read(stream.fileno(), 65536)
            return text.count(b"\n") >= count

        self.until(complete, f"{count} lines of a program")
        return text.decode().splitlines()[:count]

    def turn(self, timeout: float = 0.01) -> None:
        """Run the loops of all domains once."""
        domains = (self._hv.dom0, *self._hv.domains.values())
        polls = [domain.vcpu.fileno() for domain in domains]
        select.select(polls, [], [], timeout)
        for domain in domains:
            domain.vcpu.block(0.0)
            domain.vcpu.dispatch()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Run the loops until *condition* holds; fails after TIMEOUT seconds."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"waited {TIMEOUT:g} s for {what}"
            self.turn()
