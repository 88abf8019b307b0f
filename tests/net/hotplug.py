"""Interfaces that come and go while a guest runs, and what a lab holds between."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hvsim.lab.control import Control
from hvsim.wire.control import Xl
from hvsim.xs.blocking import SocketStore, connect
from tests.net.household import Household, difference, household
from tests.net.tcplab import tcp_lab
from tests.support.labs import Commands, commands

LIMIT = 60.0
"""Seconds that a step may take on a busy machine."""
WARM_UP = 4
"""Cycles before the first look: pools of pages and buffers have their size then."""


class Hotplug:
    """A guest called ``near`` and the domains that may serve it."""

    def __init__(self, made: Commands, control: Control, store: SocketStore) -> None:
        self.made = made
        self.control = control
        self.store = store
        self.domid = self._domid("near")

    def _domid(self, name: str) -> int:
        rows = self.control.request(Xl(["list"], json=True)).data
        return next(int(row["domid"]) for row in rows if row["name"] == name)

    def xl(self, *argv: str) -> None:
        """One command, which must succeed without a word."""
        answer = self.control.request(Xl(argv))
        assert (answer.exit, answer.out, answer.err) == (0, "", ""), (argv, answer)

    def cycle(self, backend: str) -> None:
        """Attach one, wait until both halves are Connected, detach it."""
        self.xl("network-attach", "near", "bridge=xenbr0", f"backend={backend}")
        self.connected()
        self.xl("network-detach", "near", "1")

    def connected(self) -> None:
        """Wait until both halves of the second interface are Connected."""
        front = f"/local/domain/{self.domid}/device/vif/1"
        back = self.store.read(f"{front}/backend")
        deadline = time.monotonic() + LIMIT
        while self.store.read_many([f"{front}/state", f"{back}/state"]) != ["4", "4"]:
            assert time.monotonic() < deadline, f"{front} and {back} did not connect"
            time.sleep(0.002)

    def holds(self) -> Household:
        """What the lab holds now."""
        return household(self.made.json("ps"), self.store, "network", "near")

    def settled(self, before: Household) -> dict[str, dict[str, int]]:
        """The difference to *before*, once there is none or after LIMIT: a frontend gives its
        pages back a moment after the toolstack has seen the backend close."""
        deadline = time.monotonic() + LIMIT
        while (found := difference(before, self.holds())) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


@contextmanager
def hotplug_lab(directory: Path) -> Iterator[Hotplug]:
    """A lab up within the block, and down again without a trace."""
    with commands() as made, tcp_lab(directory, made):
        run = made.base / "tcp"
        with (
            Control(run / "control") as control,
            connect(str(run / "xenstored" / "socket"), "TEST", "test") as store,
        ):
            yield Hotplug(made, control, store)


def churn(lab: Hotplug, cycles: int) -> None:
    """Interfaces of the network domain and of dom0 by turns; then nothing of any is left."""
    backends = ("network", "Domain-0")
    for number in range(WARM_UP):
        lab.cycle(backends[number % 2])
    before = lab.holds()
    for number in range(cycles):
        lab.cycle(backends[number % 2])
    assert lab.settled(before) == {}
