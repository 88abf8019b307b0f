"""A small machine without a kernel: dom0 and one domain, and their hypercalls."""

from typing import Any

import msgpack

from hvsim.hypervisor.dispatch import Dispatcher
from hvsim.hypervisor.domains import Domain
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.machine import Machine
from hvsim.hypervisor.watchdogs import LOOK
from hvsim.wire.spawn import Spawn
from tests.hypervisor.fakes import FakeHost

SECOND = 1_000_000_000


class World:
    """A machine of four CPUs with dom0 and one domain that runs."""

    def __init__(self) -> None:
        self.host = FakeHost()
        self.machine = Machine(self.host, Ledger(self.host.now), 1 << 16, cpus=4)
        self.dispatcher = Dispatcher(self.machine)
        dom0 = self.machine.create_dom0(32, 1, "kernel")
        self.root = self.machine.births.spawn(dom0, Spawn(process="kernel"), True).token
        self.domain: Domain = self.machine.create_domain(bytes(range(16)), 2, 24, 0)
        self.machine.births.load(self.domain, Spawn(process="main"))
        self.machine.births.unpause(self.domain)
        self.guest = self.root + 1
        for token in (self.root, self.guest):
            self.machine.births.process_spawned(token, 1000 + token, [])

    def call(self, token: int, call: int, cmd: int, *args: Any) -> list[Any]:
        """A hypercall of a process: what it answers, whenever it does."""
        request = msgpack.packb([call, cmd, *args])
        answer = self.dispatcher.serve(self.machine.processes[token], request)
        if answer is not None:
            return list(msgpack.unpackb(answer[0]))
        return []

    def second(self, count: float = 1) -> None:
        """Time passes, a look of the watchdogs at a time."""
        for _ in range(round(count * SECOND / LOOK)):
            self.host.advance(LOOK)

    def dmesg(self) -> list[str]:
        return self.machine.console.read(True).splitlines()
