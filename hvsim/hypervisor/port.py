"""What the starts, stops and ends of domains need of the machine around them, and nothing more."""

from collections.abc import Mapping, MutableMapping
from typing import Protocol

from hvsim.hypervisor.domains import Domain, Process
from hvsim.hypervisor.heap import Heap
from hvsim.hypervisor.host import Host
from hvsim.hypervisor.ledger import Ledger
from hvsim.hypervisor.reclaim import Reclaim
from hvsim.hypervisor.transfer import Transfers
from hvsim.hypervisor.work import Work


class Port(Protocol):
    """The machine, as seen by who starts, stops and ends its domains."""

    @property
    def host(self) -> Host:
        """The world outside."""

    @property
    def ledger(self) -> Ledger:
        """Where each step is written down."""

    @property
    def work(self) -> Work:
        """Where long work goes on."""

    @property
    def cpus(self) -> int:
        """How many the machine has."""

    @property
    def domains(self) -> Mapping[int, Domain]:
        """Those that there are, zombies included."""

    @property
    def processes(self) -> MutableMapping[int, Process]:
        """Those that there are, by token."""

    def say(self, text: str) -> None:
        """A line for ``xl dmesg``."""

    def raise_virq(self, virq: int) -> None:
        """Ring a global virtual interrupt of dom0."""

    def close_port(self, domain: Domain, number: int) -> None:
        """Close an event channel. Raises XenError(EINVAL)."""


class Estate(Port, Protocol):
    """What is needed of it to release what a dead one held."""

    @property
    def heap(self) -> Heap:
        """Where frames go back to."""

    @property
    def transfers(self) -> Transfers:
        """What ends mappings."""

    @property
    def reclaim(self) -> Reclaim:
        """What takes back given-up extents."""

    def fell(self, process: Process) -> None:
        """The main process of dom0 has ended, and the machine with it."""

    def forget(self, domain: Domain) -> None:
        """The final release of a domain that has nothing left."""
