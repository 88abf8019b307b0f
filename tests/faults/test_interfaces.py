"""Which interfaces a rule of the network means, and where it acts.

Seen red: a pair whose one domain serves the other taken for two guests, and the other way round.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from hvsim.errors import HvsimError
from hvsim.faults.grammar import parse
from hvsim.faults.rules import made
from hvsim.wire.fault import Rule
from hvsim.wire.picture import DeviceRow
from tests.support.rows import device_row, domain_row

MAC = "00:16:3e:00:00:{:02x}"


def vif(front: int, back: int, number: int = 0, mac: str | None = None) -> DeviceRow:
    address = MAC.format(16 * front + number) if mac is None else mac
    return device_row("vif", number, f"eth{number}", front, back) | {"mac": address}


DOMAINS = [
    domain_row(0, "Domain-0"),
    domain_row(1, "network"),
    domain_row(2, "web", vif(2, 1), vif(2, 1, 1)),
    domain_row(3, "db", vif(3, 1)),
    domain_row(4, "apart", vif(4, 0)),
    domain_row(5, "both", vif(5, 1), vif(5, 0, 1)),
    domain_row(6, "none"),
    domain_row(7, "odd", vif(7, 1, mac="what")),
]


def rule(target: str, *words: str) -> Rule:
    return made(parse(target, words or ("drop=1%",)), DOMAINS, 7)


def handle(domid: int | None) -> bytes | None:
    return None if domid is None else UUID(int=domid).bytes


@pytest.mark.parametrize(
    ("target", "domid", "process", "peer", "settings"),
    [
        ("web/eth1", 1, "", 2, {"devid": 1}),
        ("apart/eth0", 0, "kernel", 4, {"devid": 0}),
        ("network", 1, "", None, {}),
        ("Domain-0", 0, "kernel", None, {}),
        ("kernel", 0, "kernel", None, {}),
        ("web", 1, "", 2, {}),
        ("apart", 0, "kernel", 4, {}),
        ("network <-> web", 1, "", 2, {}),
        ("web <-> network", 1, "", 2, {}),
        ("network -> web", 1, "", 2, {"direction": "in"}),
        ("web -> network", 1, "", 2, {"direction": "out"}),
        ("network <- web", 1, "", 2, {"direction": "out"}),
    ],
)
def test_who_is_meant(
    target: str, domid: int, process: str, peer: int | None, settings: dict[str, Any]
) -> None:
    found = rule(target)
    assert (found.domain, found.process, found.peer) == (handle(domid), process, handle(peer))
    assert found.settings == {"type": "vif", "drop": 0.01, **settings}


def test_between_guests_it_is_addresses() -> None:
    web, db = [MAC.format(32), MAC.format(33)], [MAC.format(48)]
    found = rule("web <-> db", "partition=yes")
    assert (found.domain, found.peer) == (handle(1), None)
    assert found.settings["between"] == [[web, db], [db, web]]
    assert rule("web -> db").settings["between"] == [[web, db]]
    assert rule("web <- db").settings["between"] == [[db, web]]


@pytest.mark.parametrize(
    ("target", "words", "why"),
    [
        ("none", (), "neither has an interface nor serves one"),
        ("xenstored", (), "is about a device"),
        ("toolstack", (), "neither has an interface nor serves one"),
        ("both", (), "name one: both/eth0, both/eth1"),
        ("web <-> apart", (), "network serves the one, Domain-0 the other"),
        ("web <-> none", (), "neither has an interface"),
        ("web <-> odd", (), "an interface of odd has no address"),
        ("web/eth0", ("partition=yes",), "a partition is between two domains"),
        ("network", ("partition=yes",), "a partition is between two domains"),
        ("web <-> db", ("link=down",), "no link is between those alone"),
        ("network -> web", ("link=down",), "down both ways"),
        ("web/eth0", ("link=down", "direction=in"), "down both ways"),
        ("web/eth0", ("link=down", "times=3"), "for=TIME says for how long"),
        ("network -> web", ("drop=1", "direction=in"), "between domains it is ->"),
        ("web/eth0", ("drop=0%",), "no share"),
        ("web/eth0", ("rate=3",), "no rate"),
        ("web/eth0", ("partition=no",), "is none of yes"),
    ],
)
def test_what_makes_no_sense(target: str, words: tuple[str, ...], why: str) -> None:
    with pytest.raises(HvsimError, match=why):
        rule(target, *words)


def test_a_word_may_be_a_fault_here_and_a_setting_there() -> None:
    """``rate`` of a network, and of states that are thrashed."""
    found = made(parse("xenstored", ["thrash=web/eth0", "rate=5"]), DOMAINS, 7)
    assert found.settings["rate"] == 5


def test_each_rule_has_dice_of_its_own() -> None:
    """Of its words and the lab's seed.  Red when all that name none have that: two that fire on
    a share of the events fired on the same ones."""
    one, other = rule("web/eth0", "drop=20%"), rule("web/eth0", "duplicate=20%")
    assert one.seed != other.seed
    assert one.seed == rule("web/eth0", "drop=20%").seed
    assert rule("web/eth0", "drop=20%", "seed=3").seed == 3
