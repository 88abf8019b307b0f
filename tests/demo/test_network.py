"""The demo's network part, from end to end; and where the machine allows no network.

Red, each tried: with a database guest that answers before it commits (commits are found missing);
with a web guest that drops its connections when the network's domain dies.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest

from hvsim.demo.network_result import NetworkResult, Outage
from tests.support.labs import Commands, commands


@pytest.fixture
def hvsim_() -> Iterator[Commands]:
    with commands() as made:
        yield made


def test_a_request_goes_on_when_network_and_storage_die(hvsim_: Commands) -> None:
    done = hvsim_.run("demo", "--kills", "0", "--seed", "4", "--network", "--json")
    found = json.loads(done.stdout)
    network = found["network"]
    if network["impossible"]:
        pytest.skip(network["impossible"])
    assert (found["complaints"], network["complaints"]) == ([], [])
    assert done.returncode == 0
    assert network["acknowledged"] > 40
    assert (network["lost"], network["connections_lost"], network["integrity"]) == (0, 0, "ok")
    assert network["found"] - network["acknowledged"] in (0, 1)
    assert [one["domain"] for one in network["outages"]] == ["network", "storage"]
    assert all(one["back_ms"] < one["gap_ms"] for one in network["outages"])


def test_without_network_it_says_so_in_one_sentence(hvsim_: Commands) -> None:
    """In a user namespace that allows no network namespace."""
    words = hvsim_.argv("demo", "--kills", "0", "--network", "--json")
    script = 'echo 0 > /proc/sys/user/max_net_namespaces || exit 77; exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        stdin=subprocess.DEVNULL,
        env=hvsim_.environment,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this machine allows no user namespaces")
    network = json.loads(done.stdout)["network"]
    assert "this machine" in network["impossible"], done.stderr
    assert (network["complaints"], network["acknowledged"]) == ([], 0)
    assert done.returncode == 0


def good() -> NetworkResult:
    return NetworkResult(
        "x",
        wanted_outages=1,
        outages=[Outage("network", 100.0, 200.0)],
        acknowledged=5,
        found=5,
        integrity="ok",
        connections_lost=0,
    )


def test_each_fault_alone_is_enough() -> None:
    assert good().ok
    for change, sign in (
        ({"found": 4}, "LOSS: 5 commits acknowledged, 4 found"),
        ({"found": 7}, "SURPLUS"),
        ({"lost": [3]}, "LOSS: 1 commits that the client was told of"),
        ({"integrity": "page 7"}, "LOSS: integrity_check says"),
        ({"unsound": ["web-frontend has ended"]}, "LOSS: web-frontend has ended"),
        ({"connections_lost": 2}, "lost its connection 2 times"),
        ({"connections_lost": None}, "did not say"),
        ({"outages": []}, "0 recoveries of 1 deaths"),
        ({"acknowledged": 0, "found": 0}, "nothing was proven"),
        ({"leftovers": ["network link vif1.0"]}, "left behind"),
        ({"failure": "it stopped"}, "it stopped"),
    ):
        result = good()
        for key, value in change.items():
            setattr(result, key, value)
        assert any(sign in text for text in result.complaints()), sign
    impossible = good()
    impossible.impossible, impossible.found = "this machine cannot", 0
    assert impossible.ok
