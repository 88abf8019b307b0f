"""A storage driver domain whose backend is a real QEMU: what ``xl devd`` does for qdisk.

    [[domain]]
    name = "storage"
    role = "driver"
    restart = "always"
    program = "domains.qdisk:main"
    args = { exec = ["/usr/libexec/xen-qemu-system-i386"] }

For each guest that the toolstack makes a ``backend/qdisk`` for in this domain's tree it starts a
QEMU, behind the walls of this domain, which may open the images of the lab file and no more.  What
QEMU says is on the domain's console.  A QEMU that ends while it is needed takes the domain with
it: with ``restart = "always"`` the toolstack builds it anew, and no frontend loses anything.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

from domains.output import Output
from hvsim.domain import Domain
from hvsim.domain.loading import ProgramError
from hvsim.domain.xenbus.backends import SERVES_KEY
from hvsim.drivers.block import lock
from hvsim.drivers.split import devd
from hvsim.errors import TimedOut
from hvsim.spawn.executable import CannotRun, Executable
from hvsim.wire import rights
from hvsim.xs.client import StoreNotFound

ROOT: Final = "backend/qdisk"
CLOSE_TIMEOUT: Final = 5.0
"""Seconds that the QEMUs have to close their images when the domain shuts down."""


class QemuFailed(ProgramError):
    """A QEMU could not be started, or has ended while a guest needed it."""


def main(dom: Domain) -> None:
    """Args: ``exec``, the QEMU, and words that are put behind libxl's.

    Raises: QemuFailed, which is the domain's crash.
    """
    dom.starting()
    service = Service(dom, [str(word) for word in dom.args["exec"]])
    dom.store.watch(ROOT, service.look)
    dom.store.write(SERVES_KEY, "qdisk")
    devd.serve(dom)
    dom.ready()
    dom.wait(
        lambda: dom.shutdown_requested is not None or bool(service.failure),
        None,
        "the shutdown request",
    )
    if service.failure:
        raise QemuFailed(service.failure)
    service.stop()


class Service:
    """A QEMU for each guest.

    Attributes:
        failure: what went wrong, "" for nothing.
    """

    def __init__(self, dom: Domain, command: list[str]) -> None:
        self.failure = ""
        self._dom = dom
        self._command = command
        self._running: dict[int, Executable] = {}
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def look(self, _path: str) -> None:
        """Something changed below ROOT: start what is missing, end what nobody needs."""
        needed = self._needed()
        for domid in needed - self._running.keys():
            self._start(domid)
        for domid in self._running.keys() - needed:
            self._running[domid].signal(signal.SIGTERM)

    def stop(self) -> None:
        """End them all in order; those that do not end are killed with the domain."""
        for program in self._running.values():
            program.signal(signal.SIGTERM)
        try:
            self._dom.wait(lambda: not self._running, CLOSE_TIMEOUT, "QEMU to close its images")
        except TimedOut as late:
            self._dom.log(str(late))

    def _needed(self) -> set[int]:
        try:
            names = self._dom.store.directory(ROOT)
        except StoreNotFound:
            return set()
        return {int(name) for name in names if name.isdecimal()}

    def _lock(self, domid: int) -> list[int]:
        """Hold the images of a guest for our lab, beside the toolstack, which has asked whether we
        may; QEMU's own locks are off for Xen's disks."""
        owner = lock.owner_in(self._dom.args)
        held: list[int] = []
        if owner is None:
            return held
        for number in self._dom.store.directory(f"{ROOT}/{domid}"):
            with contextlib.suppress(OSError):  # not there yet, or no locks there
                base = f"{ROOT}/{domid}/{number}"
                path = self._dom.store.read(f"{base}/params").partition(":")[2]
                readonly = not self._dom.store.read(f"{base}/mode").startswith("w")
                held.append(lock.claim(path, owner, readonly=readonly, shared=True))
        return held

    def _start(self, domid: int) -> None:
        program, *more = self._command
        argv = [
            program,
            *("-xen-domid", str(domid), "-no-shutdown", "-nodefaults", "-no-user-config"),
            *("-xen-attach", "-name", f"guest-{domid}", "-vnc", "none", "-display", "none"),
            *("-nographic", "-machine", "xenpv", "-m", "32"),
            *more,
        ]
        output = Output(self._dom)
        locks = self._lock(domid)

        def ended(status: int) -> None:
            output.finish()
            for fd in locks:
                os.close(fd)
            del self._running[domid]
            if domid in self._needed() and self._dom.shutdown_requested is None:
                self.failure = f"the QEMU of domain {domid} has ended with status {status}"

        try:
            self._running[domid] = Executable(
                self._dom, argv, (self._null, output.writer, output.writer), ended
            )
        except (CannotRun, OSError) as failure:
            self.failure = str(failure)
            rights.close(locks)
        finally:
            output.begin()
