"""The event of a watch is lost, or comes late.

The first event of a watch, which answers its registration, is none of these.  An event that is
late keeps those of the same client behind it: the store never changes their order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hvsim.domain.seams import STORE_EVENTS
from hvsim.faults.inject.store.who import Below, Who

if TYPE_CHECKING:
    from hvsim.domain.injection import Fault
    from hvsim.domain.timers import Timer
    from hvsim.xenstore.rules.store import Store
    from hvsim.xenstore.rules.watches import Deliver, Watch, Watcher

MAX_HELD: Final = 1024
"""Events held back by one rule; the oldest goes out when there is one more."""


@dataclass(eq=False)
class _Late:
    """An event that is held back until *due*, which is not before that of the one before it."""

    due: float
    watch: Watch
    path: bytes


def stand(fault: Fault) -> Callable[[], None]:
    """Put *fault* between the store and the watches that it is about."""
    broken = Broken(fault)
    take_out = fault.domain.seams.insert(STORE_EVENTS, broken)

    def lift() -> None:
        take_out()
        broken.release()

    return lift


class Broken:
    """Loses events, or holds them back."""

    def __init__(self, fault: Fault) -> None:
        settings = fault.settings
        self._fault = fault
        self._drops = settings["watch"] == "drop"
        self._delay = settings.get("by", [0.1, 0.1])
        self._below = Below(settings["path"]) if "path" in settings else None
        self._who = Who(settings["domain"]) if "domain" in settings else None
        self._inner: Deliver
        self._store: Store
        self._late: deque[_Late] = deque()
        self._last: dict[Watcher, _Late] = {}
        self._timer: Timer | None = None

    def __call__(self, deliver: Deliver, store: Store) -> Deliver:
        """What delivers the events of a store from now on."""
        self._inner = deliver
        self._store = store
        return self._deliver

    def release(self) -> None:
        """Let everything go that is held back, in its order."""
        self._go_on(len(self._late))

    def _deliver(self, watch: Watch, path: bytes) -> None:
        fires = self._is_about(watch, path) and self._fault.fires()
        if fires and self._drops:
            self._fault.told(f"{_shown(watch, path)}: lost")
        elif fires:
            least, most = self._delay
            seconds = least + (most - least) * self._fault.dice.random()
            self._fault.told(f"{_shown(watch, path)}: {seconds * 1000:g} ms late")
            self._hold(watch, path, seconds)
        elif watch.owner in self._last:
            self._hold(watch, path, 0.0)
        else:
            self._inner(watch, path)

    def _is_about(self, watch: Watch, path: bytes) -> bool:
        domid = watch.owner.domid
        if self._below is not None and not self._below.has(path, domid):
            return False
        return self._who is None or self._who.is_(self._store, domid)

    # -- what is held back -----------------------------------------------------------------------

    def _hold(self, watch: Watch, path: bytes, seconds: float) -> None:
        due = self._fault.domain.vcpu.now() + seconds
        before = self._last.get(watch.owner)
        late = _Late(due if before is None else max(due, before.due), watch, path)
        self._last[watch.owner] = late
        self._late.append(late)
        if len(self._late) > MAX_HELD:
            self._go_on(1)
        self._wind()

    def _go_on(self, count: int) -> None:
        for _ in range(count):
            self._give(self._late.popleft())
        self._wind()

    def _give(self, late: _Late) -> None:
        watch = late.watch
        if self._last.get(watch.owner) is late:
            del self._last[watch.owner]
        if watch in self._store.watches.matching(watch.path, exact=True):
            self._inner(watch, late.path)

    def _wind(self) -> None:
        """Wait for the first that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._late:
            vcpu = self._fault.domain.vcpu
            first = min(late.due for late in self._late)
            self._timer = vcpu.call_later(max(0.0, first - vcpu.now()), self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._fault.domain.vcpu.now()
        due = [late for late in self._late if late.due <= now]
        self._late = deque(late for late in self._late if late.due > now)
        for late in due:
            self._give(late)
        self._wind()


def _shown(watch: Watch, path: bytes) -> str:
    return f"d{watch.owner.domid}: event of {path[:100].decode('ascii', 'backslashreplace')}"
