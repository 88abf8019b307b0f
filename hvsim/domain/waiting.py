"""One wait of a vCPU in its epoll set, with what it says of it in its own page meanwhile.

`hvsim._native` has a compiled twin, as every event passes here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from hvsim import native
from hvsim.abi.vcpu_page import RUNNING

if TYPE_CHECKING:
    from hvsim._native import Wait as CompiledWait

Wait = Callable[[float, int], Sequence[int]]
"""Waits so many seconds (0: looks; less: for ever), which end at that system time, in nanoseconds;
returns the descriptors that have something."""
LOOKS: Final = 100
"""How often a process in lockstep may look without waiting before its turn is over."""
_MAX_EVENTS: Final = 32  # a small buffer: epoll.poll() allocates it anew for every call


def compiled(fd: int, word: memoryview) -> CompiledWait | None:
    """The compiled wait in the epoll set *fd*, where that is built; *word* is ``blocked_until``."""
    module = native.load()
    if module is None:
        return None
    wait: CompiledWait = module.Wait(fd, word)
    return wait


def waiting(poll: Callable[[float, int], Sequence[tuple[int, int]]], word: memoryview) -> Wait:
    """The same over ``epoll.poll``."""

    def wait(timeout: float, until: int) -> Sequence[int]:
        if not timeout:
            return [fd for fd, _ in poll(0.0, _MAX_EVENTS)]
        word[0] = until
        try:
            ready = poll(timeout, _MAX_EVENTS)
        finally:
            word[0] = RUNNING
        return [fd for fd, _ in ready]

    return wait


def in_turns(look: Wait, park: Callable[[int], object]) -> Wait:
    """The wait of a process in lockstep.

    Args:
        look: how it looks.
        park: told until which system time, in nanoseconds or -1; returns when it is this process's
            turn again.
    """
    looks = 0

    def wait(timeout: float, until: int) -> Sequence[int]:
        nonlocal looks
        ready = look(0.0, RUNNING)
        looks = 0 if ready or timeout else looks + 1
        if ready or (not timeout and looks < LOOKS):
            return ready
        # Who looks again and again is waited for by others, and by the time.
        looks = 0
        park(until if timeout else 0)
        return look(0.0, RUNNING)

    return wait
