"""One recovery, seen through the store: from the SIGKILL to Connected at the new backend."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from hvsim.demo.result import Kill
from hvsim.lab.progress import CONNECTED
from hvsim.lab.states import state_name
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreError, StoreNotFound, Watch


@dataclass(frozen=True, slots=True)
class Vbd:
    """One disk: who uses it and where its frontend stands."""

    domain: str
    domid: int
    label: str
    frontend: str

    def backend(self, store: SocketStore) -> str:
        """Where its backend stands now, as the frontend is told."""
        return _read(store, f"{self.frontend}/backend") or ""


def disks_of(store: SocketStore, name: str, domid: int) -> list[Vbd]:
    """The disks of a domain."""
    root = f"/local/domain/{domid}/device/vbd"
    try:
        devids = store.directory(root)
    except StoreNotFound:
        return []
    found = []
    for devid in devids:
        frontend = f"{root}/{devid}"
        backend = _read(store, f"{frontend}/backend") or ""
        found.append(Vbd(name, domid, _read(store, f"{backend}/dev") or devid, frontend))
    return found


def domid_in(backend: str) -> int:
    """The backend's domid: /local/domain/1/backend/vbd/2/51712 -> 1; -1 if it has none."""
    parts = backend.split("/")
    return int(parts[3]) if len(parts) > 3 and parts[3].isdigit() else -1


def connected_elsewhere(store: SocketStore, disk: Vbd, old: str) -> str | None:
    """The path of the new backend, once both halves are Connected there; else None."""
    backend = disk.backend(store)
    if not backend or backend == old:
        return None
    both = (_read(store, f"{disk.frontend}/state"), _read(store, f"{backend}/state"))
    return backend if both == (CONNECTED, CONNECTED) else None


class Recovery:
    """Watches the death of a backend domain and the way back of every disk that it served.

    The first of `disks` is the one whose steps and times are told, in `kill`.
    """

    def __init__(self, store: SocketStore, disks: list[Vbd]) -> None:
        self.store = store
        self.first = disks[0]
        self.waiting = list(disks)
        self.old = {disk: disk.backend(store) for disk in disks}
        self.kill = Kill(old_domid=domid_in(self.old[self.first]))
        self._began = 0.0
        self._told: dict[str, str | None] = {}
        self._new_backend = ""
        self._watches: list[Watch] = []
        self._watches_new = False

    def begin(self) -> None:
        """Watch from now on; the death comes next."""
        first = self.first
        self._watches = [
            self.store.watch(f"{first.frontend}/state", lambda path: self._note(path, "frontend")),
            self.store.watch(f"{first.frontend}/backend", self._moved),
            self.store.watch("@releaseDomain", self._released),
            *(self.store.watch(f"{disk.frontend}/state", _nothing) for disk in self.waiting[1:]),
        ]
        while self.store.poll(0.0):  # every watch fires once when it is set
            pass
        self._began = time.monotonic()

    def poll(self, seconds: float) -> None:
        """Wait for news, at most that long, and see who is back."""
        self.store.poll(seconds)
        if self._new_backend and not self._watches_new:
            self._watches_new = True
            path = f"{self._new_backend}/state"
            self._watches.append(self.store.watch(path, lambda path: self._note(path, "backend")))
        self._look()

    @property
    def seconds(self) -> float:
        """Since the death."""
        return time.monotonic() - self._began

    def missing(self, exists: Callable[[int], bool]) -> list[Vbd]:
        """Who is not back yet, those of domains that are gone left out."""
        self.waiting = [disk for disk in self.waiting if exists(disk.domid)]
        return self.waiting

    def end(self) -> None:
        """Watch no more."""
        for watch in self._watches:
            self.store.unwatch(watch)
        self._watches = []

    def _look(self) -> None:
        """Strike off the waiting disks that are Connected at another backend."""
        for disk in list(self.waiting):
            backend = connected_elsewhere(self.store, disk, self.old[disk])
            if backend is None:
                continue
            self.waiting.remove(disk)
            if disk is self.first:
                self.kill.recovery_ms = self._ms()
                self.kill.new_domid = domid_in(backend)

    def _note(self, path: str, half: str) -> None:
        value = _read(self.store, path)
        if self._began and value is not None and self._told.get(path) != value:
            self._step(f"{half} half is {state_name(value)}")
        self._told[path] = value

    def _moved(self, _: str) -> None:
        backend = self.first.backend(self.store)
        if self._began and backend not in ("", self.old[self.first], self._new_backend):
            self._new_backend = backend
            self._step(f"its backend is now {backend}")

    def _released(self, _: str) -> None:
        if self._began and "@releaseDomain" not in self._told:
            self._told["@releaseDomain"] = None
            text = f"domain {self.kill.old_domid} is gone (@releaseDomain)"
            self.kill.steps.append((self._ms(), text))

    def _step(self, text: str) -> None:
        self.kill.steps.append((self._ms(), f"{self.first.domain} {self.first.label}: {text}"))

    def _ms(self) -> float:
        return (time.monotonic() - self._began) * 1000


def _nothing(_: str) -> None:
    """An event that only ends a wait."""


def _read(store: SocketStore, path: str) -> str | None:
    try:
        return store.read(path)
    except StoreError:
        return None
