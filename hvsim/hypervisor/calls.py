"""The table of hypercalls: which handler serves (call, command), and what its arguments are."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final

from hvsim.hypervisor.domains import Process
from hvsim.hypervisor.host import Held
from hvsim.hypervisor.late import Deferred
from hvsim.hypervisor.machine import Machine


@dataclass(slots=True)
class Answer:
    """Results that descriptors go with."""

    results: tuple[object, ...]
    objects: list[Held] = field(default_factory=list)
    """Whose descriptors are sent, in this order."""


Result = tuple[object, ...] | Answer | Deferred
Steps = Generator[None, None, Result]
"""A call that may take long, in pieces (``work``): it yields between them, and returns its result.
One that ends within its first piece is answered at once."""
Handler = Callable[..., Result | Steps]
"""``handler(machine, caller, *arguments)``; raises XenError, or OSError when the machine has no
descriptor or memory left."""

TABLE: Final[dict[tuple[int, int], tuple[Handler, tuple[type, ...]]]] = {}


def hypercall(call: int, cmd: int, *types: type) -> Callable[[Handler], Handler]:
    """Serve a command; arguments must be of exactly these types (a bool is no int)."""

    def enter(handler: Handler) -> Handler:
        assert (call, cmd) not in TABLE
        TABLE[call, cmd] = handler, types
        return handler

    return enter


__all__ = [
    "TABLE",
    "Answer",
    "Deferred",
    "Handler",
    "Machine",
    "Process",
    "Result",
    "Steps",
    "hypercall",
]
