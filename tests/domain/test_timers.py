"""Calls that are due later, and the waits that they end."""

import pytest

from hvsim.domain.vcpu import VCPU


class Clock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_timers_fire_in_order_and_only_when_due() -> None:
    clock = Clock()
    vcpu = VCPU(clock)
    fired: list[str] = []
    vcpu.call_later(2.0, lambda: fired.append("b"))
    vcpu.call_later(1.0, lambda: fired.append("a"))
    vcpu.call_later(2.0, lambda: fired.append("c"))
    vcpu.dispatch()
    assert fired == []
    clock.now += 2.0
    assert vcpu.block(None), "a due timer ends an unlimited wait"
    vcpu.dispatch()
    assert fired == ["a", "b", "c"]
    vcpu.close()


def test_a_cancelled_timer_neither_fires_nor_wakes() -> None:
    clock = Clock()
    vcpu = VCPU(clock)
    timer = vcpu.call_later(1.0, lambda: pytest.fail("fired"))
    timer.cancel()
    assert not timer.active
    clock.now += 5.0
    assert not vcpu.block(0.0)
    vcpu.dispatch()
    vcpu.close()


def test_a_timer_that_re_arms_itself_cannot_hold_the_domain() -> None:
    clock = Clock()
    vcpu = VCPU(clock)
    fired: list[int] = []

    def again() -> None:
        fired.append(1)
        vcpu.call_later(0.0, again)

    vcpu.call_later(0.0, again)
    vcpu.dispatch()
    assert len(fired) == 1
    vcpu.dispatch()
    assert len(fired) == 2
    vcpu.close()
