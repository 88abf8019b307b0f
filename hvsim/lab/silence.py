"""Why does nobody answer?  What a client of the toolstack finds out while it hears nothing.

In this order, each a fact and not a guess:

    the lab has ended                   its hypervisor's process is gone
    the hypervisor stands still         /proc says so
    the toolstack answers a ``status``  it says what the request waits for, and who keeps that from
                                        coming; or that it has no such request, so that the one who
                                        had it has died
    it does not answer that             it is dead, stopped or given up, says the hypervisor at its
                                        door; or it runs and is busy

A wait that is in vain until somebody does something is given up after GRACE; every other one when
the caller's patience ends, and then the text says what was waited for.
"""

from collections.abc import Callable
from typing import Final

from hvsim.lab.answers import FIRST_LOOK, ControlError, ControlTimeout, RequestLost
from hvsim.lab.inquiry import Inquiry
from hvsim.toolstack.host.trouble import Trouble, told_by_init
from hvsim.wire.status import Status, Task
from hvsim.wire.typed import read
from hvsim.xs.waits import MACHINE, Waits

STEP: Final = 0.15
"""Seconds between two looks."""
NO_STATUS: Final = 0.4
"""Seconds that a toolstack whose loop turns may take to tell its status."""
GRACE: Final = 0.4
"""Seconds that somebody must be seen standing still before it is believed."""


class Silence:
    """The silence after one request.

    Args:
        what: the request in a few words.
        ask: asks the toolstack for its status.
        alive: whether the lab's hypervisor runs.
        patience: seconds without a word; None: for ever.
        tell: gets, with endless patience, a sentence about who stands still.
        lasted: seconds of it that have passed.
        waits: whose clock it goes by.
    """

    def __init__(
        self,
        what: str,
        inquiry: Inquiry,
        ask: Callable[[], None],
        alive: Callable[[], bool],
        patience: float | None,
        tell: Callable[[str], None],
        lasted: float = 0.0,
        waits: Waits | None = None,
    ) -> None:
        self._waits = waits or MACHINE
        self._what = what
        self._inquiry = inquiry
        self._ask = ask
        self._alive = alive
        self._patience = patience
        self._tell = tell
        self._told: set[str] = set()
        self.broken()
        self._since -= lasted

    def broken(self) -> None:
        """Something was said: the silence begins anew."""
        self._since = self._waits.now()
        self._asked: float | None = None
        self._status: Task | None = None
        self._seen: tuple[Trouble, float] | None = None
        self._missed = ""

    @property
    def step(self) -> float:
        """Seconds to listen before the next look."""
        return FIRST_LOOK + 0.01 if self._waits.now() - self._since < FIRST_LOOK else STEP

    def look(self) -> None:
        """Nothing came.  Raises: ControlError when nothing will; ControlTimeout when the patience
        is at its end."""
        now = self._waits.now()
        if not self._alive():
            why = self._inquiry.run.read().why_ended()
            raise ControlError(f"{self._what}: the lab has ended meanwhile: {why}")
        if now - self._since < FIRST_LOOK:
            return
        trouble = self._inquiry.trouble(lambda census: census.dom0("toolstack"))
        if trouble is not None:
            self._status, self._missed = None, trouble.text
        elif self._asked is not None and now - self._asked > NO_STATUS:
            self._status, self._asked = None, None
            busy = "its loop is busy" if self._inquiry.listens() else "it does not listen"
            self._missed = f"the toolstack to serve requests (it runs, and {busy})"
        if self._asked is None:
            self._asked = now
            self._ask()
        if trouble is not None:
            self._met(trouble, now)
        if self._patience is not None and now - self._since > self._patience:
            raise ControlTimeout(
                f"{self._what}: no answer within {self._patience:g} s; it waits for {self._wait()}"
            )

    def told(self, raw: object) -> None:
        """The toolstack's status came.  Raises: as `look`; RequestLost; BadMessage."""
        self._asked = None
        self._status = yours = read(Status, raw).yours
        if yours is None:
            raise RequestLost(f"{self._what}: {self._death()}")
        now = self._waits.now()
        found = [wait.trouble for wait in yours.waits if wait.trouble is not None]
        lasting = next((one for one in reversed(found) if one.lasting), None)
        if lasting is not None:
            self._met(Trouble(lasting.who, lasting.what, lasting.text, lasting.lasting), now)
        else:
            self._seen = None

    def _met(self, trouble: Trouble, now: float) -> None:
        """Somebody stands in the way."""
        if not trouble.lasting:
            self._seen = None
            return
        if self._seen is None or self._seen[0] != trouble:
            self._seen = (trouble, now)
        if now - self._seen[1] < GRACE:
            return
        if self._patience is not None:
            raise ControlError(f"{self._what}: {trouble.text}")
        if trouble.text not in self._told:
            self._told.add(trouble.text)
            self._tell(f"{trouble.text}\n")

    def _wait(self) -> str:
        """What the request waits for, as far as anybody has told."""
        waits = () if self._status is None else self._status.waits
        if not waits:
            return self._missed or "the toolstack, which is at work on it"
        last = waits[-1]
        because = f" ({last.trouble.text})" if last.trouble is not None else ""
        return f"{last.what}{because}"

    def _death(self) -> str:
        last = told_by_init(self._inquiry.run.path).get("toolstack", {}).get("last")
        return (
            f"the toolstack {last or 'has died'} meanwhile and was started again; what it had "
            "begun is undone or completed, `hvsim ps` shows what there is"
        )
