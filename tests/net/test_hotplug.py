"""Attaching and detaching interfaces leaves nothing behind (the long run: tests/soak)."""

from pathlib import Path

from tests.net.hotplug import churn, hotplug_lab
from tests.net.household import difference


def test_twenty_interfaces_come_and_go(tmp_path: Path) -> None:
    with hotplug_lab(tmp_path) as lab:
        churn(lab, 20)


def test_what_stays_is_seen(tmp_path: Path) -> None:
    """The negative control: an interface that stays is seen in every kind of thing it holds."""
    with hotplug_lab(tmp_path) as lab:
        lab.cycle("network")
        before = lab.holds()
        lab.xl("network-attach", "near", "bridge=xenbr0", "backend=network")
        lab.connected()
        found = lab.holds()
        lab.xl("network-detach", "near", "1")
        assert lab.settled(before) == {}
    more = difference(before, found).keys()
    assert {"granted pages", "nodes", "links of network", "links of near"} <= more
    assert {f"descriptors of {who}" for who in ("hypervisor", "network", "near")} <= more
