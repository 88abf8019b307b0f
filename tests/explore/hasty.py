"""The client of registers, which ends by itself; with `patience`, microseconds, it has a bug: a
read that took longer is answered with what an earlier one has found, whatever was written since.
That takes an order in which others are served between its request and the answer.
"""

from typing import Any, Final

from domains.guests.options import option, words
from domains.guests.register import Disk, Registers
from hvsim.domain import Domain
from hvsim.drivers.block.front import BlockFront

LONG: Final = 0.002
"""Seconds after which it is patient again: the disk is away, and it is not orders that tell."""


class World:
    """The clock and the console of a domain."""

    def __init__(self, dom: Domain) -> None:
        self.now: Final = dom.vcpu.now
        self.say: Final = dom.log


class Hasty(Registers):
    """Does not take the answer of a slow read, where it knows another."""

    def __init__(self, patience: float, world: World, **more: Any) -> None:
        super().__init__(world=world, **more)
        self._patience: Final = patience
        self._clock: Final = world.now
        self._found: dict[int, int] = {}

    def _outcome(self, one: Any) -> tuple[str, int]:
        outcome, value = super()._outcome(one)
        if one.writes or not self._patience:
            return outcome, value
        late = self._patience < self._clock() - one.begun < LONG
        if late and one.register in self._found:
            return outcome, self._found[one.register]
        self._found[one.register] = value
        return outcome, value


class Counted:
    """A disk, and how many requests it was given: those of the first look and the flushes too."""

    def __init__(self, disk: Disk) -> None:
        self._disk: Final = disk
        self.requests = 0

    def submit(self, *what: Any, **more: Any) -> Any:
        self.requests += 1
        return self._disk.submit(*what, **more)


def main(dom: Domain) -> None:
    """So many requests or one more, then nothing until the shutdown request."""
    found = words(dom)
    disk = Counted(BlockFront.open(dom, "xvda"))
    client = Hasty(
        option(found, "patience", 0) / 1e6,
        World(dom),
        disk=disk,
        first=0,
        count=2,
        depth=2,
        reads=60,
        seed=1,
    )
    client.look()
    dom.ready("registers")
    while disk.requests < option(found, "requests", 64):
        due = dom.vcpu.now() + 1.0 / option(found, "rate", 500)
        client.step()
        client.drain()
        if (rest := due - dom.vcpu.now()) > 0:
            dom.sleep(rest)
    client.drain()
    while dom.shutdown_requested is None:
        dom.sleep(1.0)
    dom.log("registers: done")
