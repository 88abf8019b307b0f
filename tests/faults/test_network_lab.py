"""Guests with Linux stacks of their own on a network that is broken by rules.

Seen red: with `Bad.ways` that finds no sender of a partition, and with a seam that netback does not
follow: pings go through.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.net.tcplab import LAB, tcp_lab
from tests.support import optional
from tests.support.labs import Commands, commands

pytestmark = pytest.mark.interop

THIRD = """
[[domain]]
name = "third"
memory = 64
program = "domains.guests.idle:main"
vif = ["bridge=xenbr0,ip=10.0.0.3/24,backend=network"]

[[domain]]
name = "apart"
memory = 64
program = "domains.guests.idle:main"
vif = ["bridge=xenbr0,ip=10.0.0.4/24"]
"""
LIMIT = 30.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with commands() as made, tcp_lab(tmp_path_factory.mktemp("faults"), made, LAB + THIRD):
        optional.program("ping")
        yield made


@pytest.fixture(autouse=True)
def whole_again(lab: Commands) -> Iterator[None]:
    yield
    lab.ok("fault", "remove", "all")


def answered(lab: Commands, name: str, to: str, count: int = 3, wait: str = "10") -> int:
    """How many of so many pings are."""
    told = lab.run("exec", name, "--", "ping", "-c", f"{count}", "-i", "0.1", "-W", wait, to).stdout
    found = re.search(r"(\d+) received", told)
    assert found is not None, told
    return int(found[1])


def in_place(lab: Commands, *words: str) -> int:
    """A rule; its number, once it has fired or can."""
    number = int(lab.ok("fault", "add", *words).split(":")[0].split()[1])
    [row] = [row for row in lab.json("fault", "list")["rules"] if row["number"] == number]
    assert not row["trouble"]
    return number


def fired(lab: Commands, number: int) -> int:
    rows = lab.json("fault", "list")["rules"]
    return next(int(row["fired"]) for row in rows if row["number"] == number)


def wait_for(lab: Commands, name: str, to: str, count: int) -> None:
    """Until that many of three pings are answered: rules are put in place in their process's turn,
    and Linux asks for a neighbour that it has given up when it likes."""
    deadline = time.monotonic() + LIMIT
    while (found := answered(lab, name, to, wait="1")) != count:
        assert time.monotonic() < deadline, f"{found} of 3 pings from {name} to {to} are answered"


def test_a_partition_and_its_end(lab: Commands) -> None:
    """Every ping between the two is lost, either way; all others arrive, and those too when it is
    over."""
    assert answered(lab, "near", "far") == 3
    number = in_place(lab, "near <-> far", "partition=yes")
    wait_for(lab, "near", "10.0.0.2", 0)
    assert answered(lab, "far", "10.0.0.1", wait="1") == 0
    assert answered(lab, "near", "10.0.0.3") == answered(lab, "far", "10.0.0.3") == 3
    assert answered(lab, "near", "10.0.0.254") == 3
    assert fired(lab, number) > 0
    lab.ok("fault", "remove", str(number))
    wait_for(lab, "near", "10.0.0.2", 3)


def test_a_link_that_is_down_is_named_and_comes_back(lab: Commands) -> None:
    optional.program("ip")
    domid = next(row["domid"] for row in lab.json("ps")["domains"] if row["name"] == "near")
    show = ("exec", "network", "--", "ip", "-j", "link", "show", f"vif{domid}.0")
    assert "LOWER_UP" in json.loads(lab.ok(*show))[0]["flags"]
    in_place(lab, "near/eth0", "link=down")
    wait_for(lab, "near", "10.0.0.2", 0)
    assert "NO-CARRIER" in json.loads(lab.ok(*show))[0]["flags"]
    assert "near eth0 waits for network: the link is down" in lab.ok("ps")
    lab.ok("fault", "remove", "all")
    wait_for(lab, "near", "10.0.0.2", 3)
    assert "LOWER_UP" in json.loads(lab.ok(*show))[0]["flags"]
    assert "waits for" not in lab.ok("ps")


def test_a_rule_outlives_the_domain_that_it_acts_in(lab: Commands) -> None:
    in_place(lab, "network -> third", "drop=100%")
    wait_for(lab, "third", "10.0.0.2", 0)
    lab.ok("fault", "kill", "network")
    deadline = time.monotonic() + LIMIT
    while "restarted" not in lab.ok("ps") or answered(lab, "near", "10.0.0.2", wait="1") < 3:
        assert time.monotonic() < deadline, lab.ok("ps")
    assert answered(lab, "third", "10.0.0.2", wait="1") == 0
    lab.ok("fault", "remove", "all")
    wait_for(lab, "third", "10.0.0.2", 3)


def test_delay_is_seen_by_ping(lab: Commands) -> None:
    in_place(lab, "network <-> near", "delay=30ms..40ms")
    deadline = time.monotonic() + LIMIT
    least = 0.0
    while least < 60.0:
        assert time.monotonic() < deadline
        told = lab.ok("exec", "near", "--", "ping", "-c", "3", "-i", "0.1", "-W", "10", "10.0.0.2")
        found = re.search(r"min/avg/max/mdev = ([0-9.]+)/", told)
        assert found is not None, told
        least = float(found[1])


def test_in_dom0_and_who_shares_no_bridge(lab: Commands) -> None:
    number = in_place(lab, "apart", "drop=100%")
    assert answered(lab, "apart", "10.0.0.9", count=1, wait="1") == 0
    assert fired(lab, number) > 0
    told = lab.run("fault", "add", "near <-> apart", "partition=yes")
    assert told.returncode == 1
    assert "network serves the one, Domain-0 the other" in told.stderr
