"""One recovery, seen through the store: from the SIGKILL to Connected at the new backend."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from hvsim.demo.result import Kill
from hvsim.domain.xenbus.client import StoreError, StoreNotFound
from hvsim.lab.progress import CONNECTED, state_name
from hvsim.xenstore.client import SocketStore


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


def follow_recovery(
    store: SocketStore, disks: list[Vbd], kill: Callable[[], object], *, timeout: float,
    alive: Callable[[], bool],
) -> Kill:
    """Call `kill` and watch until every one of `disks` is Connected at its new backend.

    The first disk is the one whose times are taken. What is missing in the result was not
    reached within `timeout` seconds.
    """
    old = {disk: disk.backend(store) for disk in disks}
    first = disks[0]
    result = Kill(old_domid=domid_in(old[first]))
    began = 0.0
    told: dict[str, str | None] = {}
    events: list[str] = []

    def note(path: str, what: str) -> None:
        value = _read(store, path)
        if began and value is not None and told.get(path) != value:
            text = value if what == "backend" else state_name(value)
            result.steps.append((_ms(began), f"{first.domain} {first.label}: {what} {text}"))
        told[path] = value

    def released(_: str) -> None:
        if began and "@releaseDomain" not in told:
            told["@releaseDomain"] = None
            result.steps.append((_ms(began), f"domain {result.old_domid} is gone "
                                             "(@releaseDomain)"))

    watches = [
        store.watch(f"{first.frontend}/state", lambda path: note(path, "frontend")),
        store.watch(f"{first.frontend}/backend", events.append),
        store.watch("@releaseDomain", released),
    ]
    watched_backend = None
    try:
        while store.poll(0.0):  # every watch fires once when it is set
            pass
        events.clear()
        began = time.monotonic()
        kill()
        waiting = list(disks)
        while waiting and time.monotonic() - began < timeout:
            store.poll(0.05)
            if events and watched_backend is None:
                backend = first.backend(store)
                if backend != old[first]:
                    result.steps.append((_ms(began), f"{first.domain} {first.label}: its backend "
                                                     f"is {backend}"))
                    watched_backend = store.watch(
                        f"{backend}/state", lambda path: note(path, "backend half "))
                    watches.append(watched_backend)
            waiting = _still_waiting(store, waiting, old, first, result, began)
            if not alive():
                break
    finally:
        for watch in watches:
            store.unwatch(watch)
    return result


def _still_waiting(store: SocketStore, waiting: list[Vbd], old: dict[Vbd, str], first: Vbd,
                   result: Kill, began: float) -> list[Vbd]:
    left = []
    for disk in waiting:
        backend = connected_elsewhere(store, disk, old[disk])
        if backend is None:
            left.append(disk)
        elif disk is first:
            result.recovery_ms = _ms(began)
            result.new_domid = domid_in(backend)
    return left


def _ms(began: float) -> float:
    return (time.monotonic() - began) * 1000


def _read(store: SocketStore, path: str) -> str | None:
    try:
        return store.read(path)
    except StoreNotFound:
        return None
    except StoreError:
        return None
