"""Doorbells of the other kinds of devices, and of one that connects while the rule stands.

Seen red: each without the driver's `Seams.hold` of its port.
"""

from __future__ import annotations

import pytest

from hvsim.drivers.block.request import READ
from tests.drivers.blockrig import VDEV, Rig, a_disk_and_its_domains
from tests.faults.breaking import Breaker
from tests.faults.test_rings_of_net import Broken as Vif
from tests.faults.test_rings_of_others import Broken as Echo
from tests.support.hv import Hypervisor, turn

__all__ = ["a_disk_and_its_domains"]


@pytest.mark.parametrize("half", ["front", "back"])
def test_a_vif(hv: Hypervisor, half: str) -> None:
    vif = Vif(hv)
    number = vif.add("bell.drop=100%", f"from={half}")
    came = vif.out(2) if half == "front" else vif.into(2)
    assert came == []
    assert vif.breaker.fired(number)[0].startswith("vif 0, d")
    vif.remove(number)
    assert len(vif.out(1) if half == "front" else vif.into(1)) >= 1
    vif.close()


@pytest.mark.parametrize("half", ["front", "back"])
def test_a_device_of_a_labs_own(hv: Hypervisor, half: str) -> None:
    echo = Echo(hv)
    number = echo.add("bell.drop=100%", f"from={half}")
    echo.ask(b"aaaa")
    assert echo.answers == []
    assert echo.breaker.fired(number)[0].startswith("echo 0, d")
    echo.remove(number)
    assert echo.answers == [b"aaaaaaaa"]
    echo.close()


def test_a_disk_that_connects_while_the_rule_stands(rig: Rig) -> None:
    back = rig.domain(vbd={"spin": False})
    rig.guest.args["vbd"] = {"spin": False}
    breaker = Breaker(rig.hv, rig.guest, back, ("vbd", VDEV, "xvda"))
    number = breaker.add("guest/xvda", "bell.drop=100%", "from=front", "after=3")
    for _ in range(20):
        turn(rig.live, 0.001)
    disk = rig.start(back)
    requests = [disk.submit(READ, sector, 1) for sector in range(8)]
    for _ in range(200):
        turn(rig.live, 0.001)
        requests += [disk.submit(READ, 0, 1)] if requests[-1].done else []
    assert not requests[-1].done
    assert breaker.fired(number)
    breaker.remove(number)
    rig.run(lambda: requests[-1].done, "the last request")


def test_a_console_has_none(rig: Rig) -> None:
    back = rig.domain()
    breaker = Breaker(rig.hv, rig.guest, back, ("console", 0, "console"))
    number = breaker.add("guest/console", "bell.drop=100%")
    for _ in range(20):
        turn(rig.live, 0.001)
    [own] = [one for one in breaker.standing() if one.rule.number == number]
    assert "xenconsoled <-> DOMAIN" in own.trouble
    breaker.clear()
