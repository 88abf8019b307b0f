"""xenconsoled: one console for each domain, found through the store.

A domain that appears (@introduceDomain) has its console's directory watched; once ``ring-ref`` and
``port`` stand there, the page that the domain granted at birth is mapped, a pty opened and its path
written to ``tty``.  A domain that goes loses it, after its last output was taken.

Source: tools/console/daemon/io.c; the order is that of the recordings of a real host.
"""

from functools import partial
from pathlib import Path
from typing import Final

from hvsim.abi.domctl import XEN_SYSCTL_getdomaininfolist
from hvsim.abi.hypercall import HYPERVISOR_sysctl
from hvsim.domain.domain import Domain
from hvsim.domain.hypercall import HypercallError
from hvsim.domain.mapper import GrantError
from hvsim.domain.waits import VCPUWaits
from hvsim.drivers.console.back import ConsoleBack
from hvsim.drivers.console.log import ConsoleLog, log_name
from hvsim.errors import TimedOut
from hvsim.wire.answers import DomainInfo
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreDisconnected, StoreError, Watch
from hvsim.xs.reconnect import LastingStore

STORE_TIMEOUT: Final = 20.0
"""Seconds that xenstored has to start."""


class Daemon:
    """All consoles."""

    def __init__(self, dom: Domain, store: SocketStore, log_dir: Path) -> None:
        self._dom = dom
        self._store = store
        self._log_dir = log_dir
        self._watches: dict[int, Watch] = {}
        self._connections: dict[int, ConsoleBack] = {}
        self._changed: dict[int, None] = {}

    def start(self) -> None:
        """Watch for domains; those that are there are served at once."""
        self._listen(self._store.transport.fileno())
        if isinstance(self._store, LastingStore):
            self._store.transport.on_lost = self._dom.vcpu.remove_fd
            self._store.transport.on_back = self._listen
        for path in ("@introduceDomain", "@releaseDomain"):
            self._store.watch(path, self._domains_changed)
        self.poll()

    def _listen(self, fd: int) -> None:
        self._dom.vcpu.add_fd(fd, self.poll)

    def poll(self) -> None:
        """Handle all that the store said, also while it was asked for something else."""
        try:
            self._store.poll(0.0)
            while self._store.pending_events or self._changed:
                self._store.dispatch_events()
                # The toolstack writes all of a console in one go: it is looked at once.
                changed, self._changed = self._changed, {}
                for domid in changed:
                    self._look(domid)
        except StoreDisconnected as gone:
            self._dom.vcpu.remove_fd(self._store.transport.fileno())
            self._dom.log(f"the store has ended; consoles that are served go on: {gone}")

    def close(self) -> None:
        """Let go of every console."""
        for domid in list(self._watches):
            self._forget(domid)

    @property
    def consoles(self) -> list[int]:
        """The domains whose console is served."""
        return list(self._connections)

    def _domains_changed(self, _path: str) -> None:
        alive = self._alive()
        for domid in [domid for domid in self._watches if domid not in alive]:
            self._forget(domid)
        for domid in sorted(alive - self._watches.keys()):
            path = f"/local/domain/{domid}/console"
            self._watches[domid] = self._store.watch(path, partial(self._note, domid))

    def _alive(self) -> set[int]:
        alive: set[int] = set()
        first = 1
        while True:
            rows = self._dom.hypercall.ask(
                list[DomainInfo], HYPERVISOR_sysctl, XEN_SYSCTL_getdomaininfolist, first, 128
            )
            alive |= {row["domid"] for row in rows if not row["flags"]["dying"]}
            if len(rows) < 128:
                return alive
            first = rows[-1]["domid"] + 1

    def _note(self, domid: int, _path: str) -> None:
        self._changed[domid] = None

    def _look(self, domid: int) -> None:
        if domid not in self._watches:
            return  # it went meanwhile
        root = f"/local/domain/{domid}/console"
        ref, port, kind = self._store.read_many(
            f"{root}/{key}" for key in ("ring-ref", "port", "type")
        )
        if ref is None:
            self._disconnect(domid)  # the toolstack took the console away
            return
        connection = self._connections.get(domid)
        if connection is not None and str(connection.port) != port:
            self._disconnect(domid)  # and has given it another
        if domid in self._connections or kind != "xenconsoled" or not (port or "").isdecimal():
            return
        self._connect(domid, root, int(port or 0))

    def _connect(self, domid: int, root: str, port: int) -> None:
        (name,) = self._store.read_many([f"/local/domain/{domid}/name"])
        try:
            log = ConsoleLog(self._log_dir / log_name(name, domid))
            try:
                connection = ConsoleBack(self._dom, domid, port, log)
            except BaseException:
                log.close()
                raise
        except (GrantError, HypercallError, OSError) as failure:
            self._dom.log(f"console of domain {domid}: {failure}")
            return
        self._connections[domid] = connection
        try:
            self._store.write(f"{root}/tty", connection.terminal.path)
        except StoreError as failure:
            self._dom.log(f"console of domain {domid}: {failure}")

    def _disconnect(self, domid: int) -> None:
        connection = self._connections.pop(domid, None)
        if connection is not None:
            connection.close()

    def _forget(self, domid: int) -> None:
        self._disconnect(domid)
        self._store.unwatch(self._watches.pop(domid))


def _open_store(dom: Domain, path: str) -> SocketStore:
    """Connect to the store, which starts at the same time.  Raises: TimedOut.

    A real store does not come back when it has died, so nobody waits for it then.
    """
    kind = SocketStore if dom.args.get("real_store") else LastingStore
    deadline = dom.vcpu.now() + STORE_TIMEOUT
    while True:
        try:
            return kind(path, "CONS", str(dom.args.get("lab") or "lab"), waits=VCPUWaits(dom.vcpu))
        except OSError as failure:
            if dom.vcpu.now() >= deadline:
                raise TimedOut(f"xenstored at {path} ({failure})", STORE_TIMEOUT) from failure
        dom.sleep(0.005)


def main(dom: Domain) -> None:
    """The program of the process; args: xenstored (the socket), console_dir (the logs)."""
    run_dir = Path(str(dom.args.get("run_dir") or "."))
    log_dir = Path(str(dom.args.get("console_dir") or run_dir / "console"))
    log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = str(dom.args.get("xenstored") or run_dir / "xenstored" / "socket")
    daemon = Daemon(dom, _open_store(dom, path), log_dir)
    daemon.start()
    try:
        dom.serve()
    finally:
        daemon.close()
