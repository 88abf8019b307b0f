"""A guest's conversation over its ring page, with the store dying at every single step of it.

In one process: a step is a record of the journal or a store to a field of the page, and at the
chosen one (before or behind it) the store ends; a new one is made of the journal and the page, and
the guest's own transport goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hvsim.abi import xs_wire
from hvsim.domain.xenbus.ring_transport import RingTransport
from hvsim.xenstore.daemon.connection import Connection
from hvsim.xenstore.daemon.ring import StoreRing
from hvsim.xenstore.journal.recorder import Recorder
from hvsim.xenstore.journal.recovery import Recovery
from hvsim.xenstore.rules.permissions import Entry
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Domain, Store
from hvsim.xs import requests
from hvsim.xs.client import StoreClient, StoreError, Transaction

HOME = b"/local/domain/1"


class Killed(BaseException):
    """SIGKILL."""


class Machine:
    """What outlives the store: the page, the journal, and how many steps were made."""

    def __init__(self, kill_at: tuple[int, ...]) -> None:
        self.page = memoryview(bytearray(4096))
        self.journal: list[bytes] = []
        self.kill_at = kill_at
        self.steps = 0
        self.deaths = 0
        self.looks = 0
        self.daemon = Served(self, fresh=True)

    def step(self) -> None:
        self.steps += 1
        if self.steps in self.kill_at:
            raise Killed

    def serve(self) -> None:
        """The daemon's loop, with whoever starts it again."""
        again = True
        while again:
            try:
                _, again = self.daemon.ring.pump()
                self.daemon.recorder.commit()
            except Killed:
                self.deaths += 1
                self.daemon = Served(self, fresh=False)
                again = True

    # What RingTransport asks of ports and the vCPU.

    def notify(self, port: int) -> None:
        self.serve()

    def set_handler(self, port: int, handler: Callable[[], None] | None) -> None:
        self.handler = handler

    def now(self) -> float:
        self.looks += 1
        return self.looks * 0.1  # who waits for what never comes is late after 600 looks

    def block(self, timeout: float | None = None, *, port: int | None = None) -> bool:
        self.serve()
        return True

    def set_pending(self, port: int) -> None:
        return


class MortalRing(StoreRing):
    """A ring whose every store to the page is a step."""

    machine: Machine

    def put(self, offset: int, value: int) -> None:
        if hasattr(self, "machine"):
            self.machine.step()
            super().put(offset, value)
            self.machine.step()
        else:
            super().put(offset, value)


class Served:
    """A daemon with one guest."""

    def __init__(self, machine: Machine, fresh: bool) -> None:
        self.store = store = Store()
        recovery = None
        if fresh:
            store.domains[1] = Domain(1)
            for path in (b"/local", b"/local/domain"):
                store.tree.put(path, b"", (Entry(0, 1),))
            store.tree.put(HOME, b"", (Entry(1, 0),))
        else:
            recovery = Recovery(store)
            recovery.replay(machine.journal)

        def take(payload: bytes) -> None:
            machine.step()
            machine.journal.append(payload)
            machine.step()

        self.recorder = Recorder(store, take)
        session = Session(store, 1, "d1", durable=True)
        self.ring = MortalRing(machine.page, Connection(session), fresh, self.recorder)
        if recovery is not None:
            recovery.attach(session)
            stream = recovery.streams.get(1)
            if stream is not None:
                self.ring.resume(stream)
        machine.journal = [self.recorder.snapshot()]
        self.ring.machine = machine


def conversation(machine: Machine) -> None:
    """Everything that a guest says, checked by itself."""
    transport = RingTransport(machine.page, 1, machine, machine)
    store = StoreClient(transport)
    heard: list[str] = []

    def count(tx: Transaction) -> None:
        tx.write("data/count", str(int(tx.read("data/count")) + 1))

    store.write("data/count", "0")
    store.write("data/log", "")
    store.watch("data/w", heard.append)
    for turn in range(1, 4):
        store.transaction(count, "counting")
        assert store.read("data/count") == str(turn)
        store.write("data/w", "v" * (600 * turn))  # more than the ring holds
        assert store.read("data/w") == "v" * (600 * turn)
        batch = [(f"data/b{n}", f"{turn}.{n}") for n in range(30)]
        store.pipeline_all([requests.write(path, value) for path, value in batch])
        assert store.read_many([path for path, _ in batch]) == [value for _, value in batch]
        with pytest.raises(StoreError):
            store.read("data/missing")
    store.rm("data/b0")
    with pytest.raises(StoreError):
        store.rm("data/nowhere/x")  # not idempotent: once it is an error, and stays one
    while machine.handler is not None and store.pending_events:
        machine.handler()
        store.dispatch_events()
    assert heard == ["data/w"] * 4
    assert machine.page[xs_wire.ERROR] == xs_wire.XENSTORE_ERROR_NONE


def test_dying_at_every_step() -> None:
    whole = Machine(())
    conversation(whole)
    assert whole.deaths == 0
    for step in range(1, whole.steps + 1):
        machine = Machine((step,))
        conversation(machine)
        assert machine.deaths == 1


@pytest.mark.parametrize("apart", [31, 50, 97])
def test_dying_again_and_again(apart: int) -> None:
    machine = Machine(tuple(range(apart, 20000, apart + 1)))
    conversation(machine)
    assert machine.deaths >= 3
