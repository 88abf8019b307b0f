"""A lab is ready when every device is Connected and every guest calls itself healthy.

Seen through watches on the store's socket, as any tool of a real dom0 would see it.
"""

import math
from collections.abc import Callable
from typing import Any

from hvsim.errors import HvsimError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.progress import Device, Progress
from hvsim.names import device as device_names
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreClient, StoreDisconnected, StoreNotFound

STILL_FIRST = 0.3
STILL_STEP = 0.3
STILL_LOOKS = 3
"""Seconds without progress before anybody is looked at, between two looks, and how many looks must
have seen somebody stand still."""
_IN_VAIN = ("dead", "stalled", "given-up")

READY_TIMEOUT = 60.0
"""Seconds without any progress after which a lab counts as stuck."""
SETTLE = 0.2
"""Seconds between the first word of a device that will not connect and the end of the wait: who
else has something to say of it, or ends, does so in that time."""


def expect(store: StoreClient, progress: Progress, name: str, domid: int) -> None:
    """Add domain `domid` and its devices to what `progress` waits for.

    The devices are those of /libxl, which no guest can write.
    """
    progress.add_guest(name, domid)
    root = f"/libxl/{domid}/device"
    for kind in _children(store, root):
        if kind in device_names.SILENT:
            continue
        for devid in _children(store, f"{root}/{kind}"):
            place = f"{root}/{kind}/{devid}"
            backend = _read(store, f"{place}/backend") or ""
            backend_id = backend.split("/")[3] if backend.count("/") > 3 else "0"
            frontend = _read(store, f"{place}/frontend") or ""
            progress.add_device(
                Device(
                    domain=name,
                    domid=domid,
                    kind=kind,
                    devid=int(devid),
                    label=_read(store, f"{backend}/dev") or f"{kind} {devid}",
                    backend_domain=_read(store, f"/local/domain/{backend_id}/name") or backend_id,
                    frontend=frontend,
                    backend=backend,
                )
            )


def wait_ready(
    store: SocketStore,
    progress: Progress,
    *,
    say: Callable[[str], None],
    inquiry: Inquiry,
    ended: Callable[[], dict[int, str]],
    timeout: float = READY_TIMEOUT,
    deadline: float = math.inf,
) -> None:
    """Return when all that `progress` waits for is there.

    `say` gets a line for each step that a device or guest takes, `inquiry` finds out who stands
    still, `ended` gives the domains that have ended and why; it is asked whenever a domain went
    (@releaseDomain). Raises HvsimError when a guest ended, the hypervisor went, a half of a device
    reports an error or closes, somebody who is waited for stands still, nothing moved for `timeout`
    seconds, or it is `deadline` (monotonic).
    """
    released = [True]  # asked once at the start: a guest may have ended before we watched
    watches = [store.watch("@releaseDomain", lambda _: released.__setitem__(0, True))]

    def changed(path: str) -> None:
        progress.update(path, _read(store, path))

    watches += [store.watch(path, changed) for path in progress.paths()]
    now_of = store.transport.waits.now
    last = now_of()
    verdict = math.inf
    still = Still(inquiry)
    try:
        while not progress.ready:
            if released[0]:
                released[0] = False
                for domid, why in ended().items():
                    progress.end(domid, why)
            if progress.changes:
                last = now_of()
                for line in progress.changes:
                    say(line)
                progress.changes.clear()
            if failed := progress.failed():
                raise HvsimError("; ".join(failed))
            now = now_of()
            doomed = progress.doomed()
            verdict = min(verdict, now + SETTLE) if doomed else math.inf
            released[0] = released[0] or bool(doomed)
            if doomed and now >= verdict:
                raise HvsimError(*doomed)
            still.look(now - last)
            if now - last > timeout:
                raise HvsimError(
                    f"nothing moved for {timeout:g} s; waiting for: "
                    + "; ".join(progress.missing())
                )
            if now > deadline:
                raise HvsimError(
                    "the time of --timeout has passed; waiting for: "
                    + "; ".join(progress.missing())
                )
            store.poll(max(0.0, min(0.2, verdict - now, deadline - now)))
        for line in progress.changes:
            say(line)
        progress.changes.clear()
    except StoreDisconnected as gone:
        raise HvsimError(f"the store has ended: {inquiry.store_words() or gone}") from None
    for watch in watches:
        store.unwatch(watch)


class Still:
    """Looks for somebody who stands still while nothing moves."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._seen: dict[str, int] = {}
        self._next = 0.0

    def look(self, silence: float) -> None:
        """Nothing has moved for *silence* seconds.  Raises HvsimError: somebody has stood still in
        all of several looks, or the hypervisor has ended."""
        if silence < STILL_FIRST:
            self._seen.clear()
            self._next = STILL_FIRST
        if silence < self._next:
            return
        self._next = silence + STILL_STEP
        found = [one for one in self._inquiry.everybody() if one.lasting and one.what in _IN_VAIN]
        self._seen = {one.text: self._seen.get(one.text, 0) + 1 for one in found}
        believed = [text for text, looks in self._seen.items() if looks >= STILL_LOOKS]
        if believed:
            raise HvsimError("; ".join(believed))


def _children(store: StoreClient, path: str) -> list[str]:
    try:
        return sorted(store.directory(path))
    except StoreNotFound:
        return []


def _read(store: StoreClient, path: str) -> str | None:
    try:
        value: Any = store.read(path)
    except StoreNotFound:
        return None
    return str(value)
