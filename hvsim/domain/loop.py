"""An asyncio event loop whose wait is the vCPU's, and whose time is the vCPU's.

For a program with many slow conversations (the toolstack, the edge).  Such a process waits in
``VCPU.block()`` like every other one: what it is blocked on, and until when, is known there, and a
clock that is moved for the vCPU is moved for every sleep and timeout of the loop.  What the vCPU
itself listens to (event channels, the hypervisor's upcall) is served between the loop's callbacks.

The loop keeps its descriptors in an epoll set of its own, which is *one* descriptor of the vCPU's.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import anyio

from hvsim.domain.vcpu import VCPU

T = TypeVar("T")
_PASSES: Final = 3
"""So often in a row the loop, which has callbacks to run, is not told what has come meanwhile: most
have nothing to do with that, and a look is two system calls."""


class VCPUSelector(selectors.EpollSelector):
    """Waits in the vCPU, then asks without waiting which of its descriptors are ready."""

    def __init__(self, vcpu: VCPU) -> None:
        super().__init__()
        self._vcpu = vcpu
        self._passed = 0
        vcpu.add_fd(self.fileno(), _ready)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As ``BaseSelector.select``; also runs what the vCPU has to dispatch."""
        if timeout is not None and timeout <= 0.0 and self._passed < _PASSES:
            self._passed += 1
            return []
        self._passed = 0
        if self._vcpu.block(timeout):
            self._vcpu.dispatch()
        return super().select(0)

    def close(self) -> None:
        """The vCPU listens to it no more."""
        self._vcpu.remove_fd(self.fileno())
        super().close()


def _ready() -> None:
    """The set has something: ``select`` is about to ask it what."""


class VCPULoop(asyncio.SelectorEventLoop):
    """The event loop of a domain's process.

    Args:
        vcpu: belongs to the loop as long as that is open; nobody else blocks on it.
    """

    def __init__(self, vcpu: VCPU) -> None:
        super().__init__(VCPUSelector(vcpu))
        self._vcpu = vcpu

    def time(self) -> float:
        """Seconds, of which only differences mean anything: the vCPU's."""
        return self._vcpu.now()


def run(vcpu: VCPU, program: Callable[[], Awaitable[T]]) -> T:
    """Run *program* through anyio on a loop of *vcpu*, which is closed at its end.

    Raises: what *program* raises.
    """
    options = {"loop_factory": partial(VCPULoop, vcpu)}
    return anyio.run(program, backend="asyncio", backend_options=options)
