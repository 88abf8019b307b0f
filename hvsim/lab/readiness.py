"""A lab is ready when every device is Connected and every guest calls itself healthy.

Seen through watches on the store's socket, as any tool of a real dom0 would see it.
"""

import math
from collections.abc import Callable, Sequence

from hvsim.errors import HvsimError
from hvsim.lab.inquiry import Inquiry
from hvsim.lab.progress import Device, Progress
from hvsim.names import device as device_names
from hvsim.xs import requests
from hvsim.xs.blocking import SocketStore
from hvsim.xs.client import StoreClient, StoreDisconnected, StoreError, StoreNotFound

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
    kinds = [one for one in _children(store, [root])[0] if one not in device_names.SILENT]
    below = _children(store, [f"{root}/{kind}" for kind in kinds])
    places = [(kind, devid) for kind, devids in zip(kinds, below, strict=True) for devid in devids]
    for kind, devid in places:
        place = f"{root}/{kind}/{devid}"
        backend, frontend = (
            value or "" for value in store.read_many([f"{place}/backend", f"{place}/frontend"])
        )
        backend_id = backend.split("/")[3] if backend.count("/") > 3 else "0"
        label, served_by = store.read_many([f"{backend}/dev", f"/local/domain/{backend_id}/name"])
        progress.add_device(
            Device(
                domain=name,
                domid=domid,
                kind=kind,
                devid=int(devid),
                label=label or f"{kind} {devid}",
                backend_domain=served_by or backend_id,
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
    changed: dict[str, None] = {}
    watches = [store.watch("@releaseDomain", lambda _: released.__setitem__(0, True))]
    watches += store.watch_many(progress.paths(), lambda path: changed.setdefault(path))
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
            for path, value in zip(changed, store.read_many(changed), strict=True):
                progress.update(path, value)
            changed.clear()
        for line in progress.changes:
            say(line)
        progress.changes.clear()
    except StoreDisconnected as gone:
        raise HvsimError(f"the store has ended: {inquiry.store_words() or gone}") from None
    store.unwatch_many(watches)


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


def _children(store: StoreClient, paths: Sequence[str]) -> list[list[str]]:
    """Below each; none below one that is not there.  Raises: StoreError."""
    found: list[list[str]] = []
    for names in store.pipeline([requests.directory(path) for path in paths]):
        if isinstance(names, StoreError):
            if not isinstance(names, StoreNotFound):
                raise names
            names = []
        found.append(sorted(names))
    return found
