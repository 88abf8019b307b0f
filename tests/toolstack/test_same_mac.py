"""Two interfaces with one address: the first in the order of their numbers is meant, as in libxl.

Seen red with a dictionary of addresses (the last one went), and with the order of the names as text
("10" before "2").
"""

from collections.abc import Iterator

import pytest

from tests.support.lab_host import LabHost
from tests.support.labs import ROOT

MAC = "00:16:3e:00:00:77"
IDLE = 'program="domains.guests.idle:main"\nmemory=16\n'


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with LabHost(tmp_path_factory.mktemp("mac")) as lab:
        yield lab


def start(host: LabHost, vif: str) -> int:
    """A guest with one interface, at work."""
    answer = host.request(
        "create",
        config=f'name="g"\n{IDLE}vif=["{vif}"]',
        config_path="g.cfg",
        directory="/",
        path=[str(ROOT)],
    )
    assert answer.exit == 0, answer.err
    domid = int(answer.data["domid"])
    host.wait_node(f"/local/domain/{domid}/data/health", "ok")
    return domid


def numbers(host: LabHost) -> list[int]:
    return sorted(row["devid"] for row in host.xl("network-list", "g", json=True).data)


def test_detach_takes_the_first_that_has_the_address(host: LabHost) -> None:
    start(host, f"mac={MAC},devid=10")
    for devid in (2, 3):
        assert host.xl("network-attach", "g", f"mac={MAC},devid={devid}").exit == 0
    assert host.xl("network-detach", "g", "00:16:3e:00:00:78").exit == 1
    for left in ([3, 10], [10], []):
        assert host.xl("network-detach", "g", MAC.upper()).exit == 0
        assert numbers(host) == left
    host.xl("destroy", "g")


def test_words_of_an_attach_may_be_one_word(host: LabHost) -> None:
    """Split at commas, as the words of a config; the last word of a kind counts."""
    domid = start(host, "")
    assert host.xl("network-attach", "g", f"mac={MAC},bridge=xenbr7", "mtu=1400").exit == 0
    with host.store() as store:
        base = f"/local/domain/0/backend/vif/{domid}/1"
        assert store.read_many([f"{base}/mac", f"{base}/bridge"]) == [MAC, "xenbr7"]
    refused = host.xl("network-attach", "g", "mac=zz,bridge=xenbr7")
    assert (refused.exit, refused.err) == (1, "Invalid parameter `mac'.\n")
    assert numbers(host) == [0, 1]
    host.xl("destroy", "g")
