"""The clock that moves when it is moved.

Seen red: with a `move` that goes back; with a wall clock that is the machine's.
"""

import pytest

from hvsim.hypervisor import clock
from hvsim.hypervisor.lockstep.clock import BOOT, EPOCH, VirtualClock


def test_it_stands_still_until_it_is_moved() -> None:
    time = VirtualClock()
    assert time.now() == time.now() == BOOT
    time.move(BOOT + 60_000_000_000)
    assert time.now() == BOOT + 60_000_000_000
    assert time.wall_clock() == EPOCH


def test_it_never_goes_back() -> None:
    time = VirtualClock()
    time.move(BOOT + 5)
    time.move(BOOT + 4)
    assert time.now() == BOOT + 5


def test_let_go_it_goes_with_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualClock()
    monkeypatch.setattr(clock, "now", lambda: 1000)
    time.move(BOOT + 7)
    time.let_go()
    monkeypatch.setattr(clock, "now", lambda: 1250)
    assert time.now() == BOOT + 257
