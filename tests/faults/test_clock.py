"""The clock of one domain is broken by a rule; the domain itself sees it, and nobody else does.

Seen red: `ClockFaults._tell` that writes no page, `DomainTime.drift` without a new anchor.
"""

from __future__ import annotations

from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains
from tests.faults.breaking import Breaker

__all__ = ["a_disk_and_its_domains"]

HOUR = 3600.0


def breaker(rig: Rig) -> Breaker:
    back = rig.domain()
    rig.start(back)
    return Breaker(rig.hv, rig.guest, back, ("vbd", VDEV, "xvda"))


def ahead(rig: Rig) -> float:
    """How far the guest's system time is ahead of its driver domain's."""
    return rig.guest.vcpu.now() - rig.live[1].vcpu.now()


def test_a_jump_ahead_moves_both_clocks_and_wakes_who_waits(rig: Rig) -> None:
    made = breaker(rig)
    rang: list[float] = []
    rig.guest.vcpu.call_later(HOUR, lambda: rang.append(rig.guest.vcpu.now()))
    wall = rig.guest.vcpu.wall()
    made.add("guest", "clock.jump=+2h")
    rig.run(lambda: bool(rang), "what was due in an hour")
    assert ahead(rig) > 2 * HOUR - 60
    assert (rig.guest.vcpu.wall() - wall) / 1e9 >= 2 * HOUR


def test_a_jump_back_moves_the_time_of_day_only(rig: Rig) -> None:
    made = breaker(rig)
    before, wall = rig.guest.vcpu.now(), rig.guest.vcpu.wall()
    made.add("guest", "clock.jump=-2h")
    assert rig.guest.vcpu.now() >= before
    assert (rig.guest.vcpu.wall() - wall) / 1e9 < -HOUR


def test_a_drift_goes_on_until_it_is_lifted_and_nothing_jumps_back(rig: Rig) -> None:
    made = breaker(rig)
    number = made.add("guest", "clock.drift=500000ppm")
    at, other = rig.guest.vcpu.now(), rig.live[1].vcpu.now()
    rig.run(lambda: rig.live[1].vcpu.now() - other > 0.2, "a while")
    assert rig.guest.vcpu.now() - at > 1.4 * (rig.live[1].vcpu.now() - other) - 0.05
    drifted = rig.guest.vcpu.now()
    made.remove(number)
    assert rig.guest.vcpu.now() >= drifted
    at, other = rig.guest.vcpu.now(), rig.live[1].vcpu.now()
    rig.run(lambda: rig.live[1].vcpu.now() - other > 0.1, "a while more")
    gone = rig.live[1].vcpu.now() - other
    assert abs(rig.guest.vcpu.now() - at - gone) < 0.05 + 0.1 * gone
