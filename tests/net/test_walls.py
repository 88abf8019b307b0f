"""The walls of a domain with a network stack of its own, by what they let it do."""

from collections.abc import Iterator
from typing import Any

import pytest

from hvsim.drivers.net.link import TUN_DEVICE
from tests.domain.spawner_harness import Harness
from tests.support import optional

ITS_OWN = {"packet", "tcp", "udp"}
"""What a domain with a vif may do, and another may not."""


@pytest.fixture(scope="module")
def spawner() -> Iterator[Harness]:
    with Harness(entry="tests.net.walled:run", warm=("msgpack", "tests.net.walled")) as harness:
        yield harness


def outcomes(spawner: Harness, **more: Any) -> dict[str, str]:
    child = spawner.spawn("unused", **more)
    answer: dict[str, str] = child.receive()
    assert spawner.receive()[0][0] == "exited"
    return answer


@pytest.mark.parametrize("profile", ["guest", "driver"])
def test_a_domain_with_a_vif_has_a_network_and_nothing_else(spawner: Harness, profile: str) -> None:
    """Red with FIONBIO-using sockets, or without capabilities.NETWORK in sandbox.enter."""
    found = outcomes(spawner, profile=profile, net="a stack")
    assert {name: found[name] for name in ITS_OWN} == dict.fromkeys(ITS_OWN, "ok")
    assert found["links"] == "lo"  # none of the machine's
    rest = found.keys() - {*ITS_OWN, "links", "tap"}
    refused = {name: found[name] for name in rest}
    assert set(refused.values()) == {"EPERM", "ENOENT"}, refused  # of paths: not there


@pytest.mark.interop
@pytest.mark.parametrize("profile", ["guest", "driver"])
def test_a_domain_with_a_vif_has_a_tap_where_there_are_any(spawner: Harness, profile: str) -> None:
    optional.device(TUN_DEVICE)
    assert outcomes(spawner, profile=profile, net="a stack")["tap"] == "ok"


@pytest.mark.parametrize("profile", ["guest", "driver"])
def test_nothing_changes_for_a_domain_without(spawner: Harness, profile: str) -> None:
    """Red with `network=True` in spawn.child whatever the spec says."""
    found = outcomes(spawner, profile=profile)
    assert set(found.values()) == {"EPERM", "ENOENT"}, found


def test_without_a_network_namespace_the_machine_s_links_are_safe(spawner: Harness) -> None:
    """Red when sandbox.enter keeps the capabilities without looking for the namespace."""
    found = outcomes(spawner, net="a stack", without=["namespaces"])
    assert set(found.values()) == {"EPERM", "EACCES"}, found
