"""Who is meant by a target, and where a rule about it acts."""

from __future__ import annotations

from uuid import UUID

import pytest

from hvsim.faults.grammar import RuleError, parse
from hvsim.faults.rules import made
from hvsim.faults.targets import (
    DeviceTarget,
    DomainTarget,
    PairTarget,
    StoreTarget,
    TargetError,
    find,
)
from tests.support.rows import device_row, domain_row

HOST = [
    domain_row(0, "Domain-0"),
    domain_row(1, "storage"),
    domain_row(
        3,
        "web",
        device_row("vbd", 51712, "xvda", 3, 1),
        device_row("vbd", 51728, "xvdb", 3, 0) | {"backend_class": "qdisk"},
        device_row("vif", 0, "eth0", 3, 1),
        device_row("vbd", 51744, "xvdc", 3, 9),
    ),
]


def handle(domid: int) -> bytes:
    return UUID(int=domid).bytes


@pytest.mark.parametrize("text", ["web/xvda", "web/51712", "web/vbd51712", "3/vbd/51712"])
def test_a_device_by_its_names(text: str) -> None:
    found = find(text, HOST)
    assert isinstance(found, DeviceTarget)
    assert (found.type, found.devid) == ("vbd", 51712)
    assert (found.front.handle, found.back.handle) == (handle(3), handle(1))
    assert found.back.process == ""


def test_a_device_that_dom0_serves_acts_in_the_process_that_does() -> None:
    found = find("web/xvdb", HOST)
    assert isinstance(found, DeviceTarget)
    assert (found.back.handle, found.back.process) == (bytes(16), "qemu-3")


def test_pairs_and_their_directions() -> None:
    both, there, back = (find(f"storage {arrow} web", HOST) for arrow in ("<->", "->", "<-"))
    assert isinstance(both, PairTarget)
    assert isinstance(there, PairTarget)
    assert isinstance(back, PairTarget)
    assert (both.first.name, both.second.name, both.one_way) == ("storage", "web", False)
    assert (there.first.name, there.one_way) == ("storage", True)
    assert (back.first.name, back.second.name, back.one_way) == ("web", "storage", True)


def test_domains_processes_and_the_store() -> None:
    domain, kernel, store = (find(text, HOST) for text in ("1", "kernel", "xenstored"))
    assert isinstance(domain, DomainTarget)
    assert domain.place.handle == handle(1)
    assert isinstance(kernel, DomainTarget)
    assert (kernel.place.handle, kernel.place.process) == (bytes(16), "kernel")
    assert isinstance(store, StoreTarget)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",  # red when it is dom0, as in backend=: process=kill of it ended the lab
            '\'\' names nobody: a device (web/xvda), two domains ("storage <-> web", "storage -> '
            'web"), a domain (storage), xenstored is wanted',
        ),
        ("nobody", "nobody: there is no such domain; there are Domain-0, storage, web"),
        ("web/xvdz", "web/xvdz: there is no such device; its devices are xvda, xvdb, eth0, xvdc"),
        ("storage/xvda", "storage/xvda: there is no such device; its devices are none"),
        ("web/xvdc", "web/xvdc: the domain that served it is gone"),
        ("web <-> web", "web <-> web: two domains are wanted, and that is one"),
        ("web <-> ", "web <-> : two domains are wanted, one at each end of <->"),
        ("-> web", "-> web: two domains are wanted, one at each end of ->"),
        ("web -> moon", "moon: there is no such domain; there are Domain-0, storage, web"),
    ],
)
def test_nobody_is_called_so(text: str, said: str) -> None:
    with pytest.raises(TargetError) as wrong:
        find(text, HOST)
    assert str(wrong.value) == said


def test_a_rule_acts_where_its_family_does() -> None:
    rule = made(parse("web/xvda", ["media=eio", "seed=5"]), HOST, 7)
    assert (rule.domain, rule.peer, rule.seed) == (handle(1), handle(3), 5)
    assert rule.settings == {"media": "eio", "type": "vbd", "devid": 51712}
    whole = made(parse("storage", ["media=eio", "seed=6"]), HOST, 5)
    assert (whole.domain, whole.peer, whole.seed) == (handle(1), None, 6)


@pytest.mark.parametrize(
    ("target", "words", "said"),
    [
        ("web/eth0", ["media=eio"], "web/eth0: a fault of media is about a vbd"),
        ("web/xvda", ["cpu=20%"], "web/xvda: a fault of cpu is about a domain (storage) or xensto"),
        ("web -> storage", ["clock.jump=5s"], "web -> storage: a fault of clock is about a domain"),
        (
            "web/xvdb",
            ["bell.drop=1"],
            "web/xvdb: its backend is QEMU, whose half no rule breaks; fr",
        ),
        ("web/xvdb", ["bell.drop=1", "from=back"], "web/xvdb: its backend is QEMU"),
        ("web/xvdb", ["media=eio"], "web/xvdb: its backend is QEMU, whose half no rule breaks"),
        ("web/xvdb", ["ring=stop"], "web/xvdb: its backend is QEMU, whose half no rule breaks; ha"),
    ],
)
def test_a_fault_of_what_it_cannot_be_about(target: str, words: list[str], said: str) -> None:
    with pytest.raises(RuleError) as wrong:
        made(parse(target, words), HOST, 0)
    assert str(wrong.value).startswith(said)


def test_of_a_disk_that_qemu_serves_the_frontend_can_be_broken() -> None:
    """Seen red: refused whoever acts."""
    rule = made(parse("web/xvdb", ["bell.drop=1", "from=front"]), HOST, 0)
    assert (rule.domain, rule.both, rule.peer_process) == (handle(3), False, "qemu-3")
    assert made(parse("web/xvdb", ["ring=stop", "half=front"]), HOST, 0).domain == handle(3)
