"""What is concluded from facts that are made up: chains, circles, rules, and what is kept of it.

Seen red: the chain with `_explain` that asks nobody further on, the circle without `_circles`, the
rule about somebody else with `Host.about` that looks at no device, and that which has not fired
with `rules.blamed` that counts nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.observe.diagnosis.host import BACK, BOTH, FRONT, NOBODY, Host, turn
from hvsim.observe.diagnosis.logs import log_of
from hvsim.observe.diagnosis.remains import FACTS, facts_of, kept
from hvsim.observe.diagnosis.rows import FindingRow
from hvsim.observe.diagnosis.told import told
from tests.doctor.fabricated import device, domain, facts, rule
from tests.support.rows import device_row

STOPPED = ("storage", "stalled", "storage (pid 101) stands still (SIGSTOP); `hvsim fault resume`")


def silent(front: int, back: int = 1) -> dict[str, object]:
    return {**device(front, back), "unanswered": 2, "waits_for": "x", "waiting_seconds": 4.25}


def waiting(domid: int, name: str, back: int) -> object:
    return domain(domid, name, silent(domid, back))  # type: ignore[arg-type]


def first(*args: object, **more: object) -> FindingRow:
    return told(facts(*args, **more))["findings"][0]  # type: ignore[arg-type]


def test_a_chain_has_one_cause_and_everybody_behind_it() -> None:
    found = told(facts(domain(1, "storage"), waiting(2, "web", 1), waiting(3, "cache", 2)))  # type: ignore[arg-type]
    [cause] = found["findings"]
    assert (cause["culprit"], cause["behind"]) == ("storage", ["web", "cache"])
    assert cause["text"].startswith(
        "blkback in storage (domain 1) has 2 requests unanswered since 4.2 s; it has taken them"
    )
    assert [(edge["who"], edge["on"]) for edge in found["waits"]] == [
        ("web", "storage"),
        ("cache", "web"),
    ]


def test_who_is_stopped_explains_all_that_waits_for_him() -> None:
    cause = first(
        domain(1, "storage"), waiting(2, "web", 1), waiting(3, "cache", 2), troubles=(STOPPED,)
    )
    assert cause["text"] == (
        "blkback in storage (domain 1) has 2 requests unanswered; it is stopped (SIGSTOP); "
        "web and cache wait behind it"
    )
    assert cause["cure"] == "hvsim fault resume storage"


def test_a_circle_is_one() -> None:
    cause = first(waiting(1, "a", 2), waiting(2, "b", 1))
    assert cause["what"] == "circle"
    assert "a waits for b, b waits for a" in cause["text"]


@pytest.mark.parametrize(
    ("standing", "culprit"),
    [
        (rule(7, "web/xvda answer=never", 1), "rule 7"),
        (rule(7, "storage cpu=10%", 1, cpu=0.1), "rule 7"),
        (rule(7, "storage media=slow", 1, type="vbd"), "rule 7"),
        (rule(7, "storage media=slow", 1, fired=0, type="vbd"), "storage"),
        (rule(7, "db/xvda media=eio", 1, type="vbd", devid=51728), "storage"),
        (rule(7, "other cpu=10%", 5, cpu=0.1), "storage"),
        (rule(7, "web delay=5ms", 1, delay=[0.005, 0.005]), "storage"),
        (rule(7, "web link=down", 1, link="down"), "storage"),
    ],
)
def test_a_rule_is_blamed_for_what_it_is_about(standing: object, culprit: str) -> None:
    cause = first(domain(1, "storage"), waiting(2, "web", 1), rules=[standing])
    assert cause["culprit"] == culprit
    assert cause["cure"].startswith("hvsim fault remove 7") == (culprit == "rule 7")


def test_a_link_is_down_by_the_rule_of_links() -> None:
    """Red when any rule about the device is taken, in the order of the numbers."""
    vif = device_row("vif", 0, "eth0", 2, 1) | {"link": "down"}
    delay = rule(1, "web delay=5ms", 2, delay=[0.005, 0.005])
    down = rule(2, "web link=down", 2, link="down")
    hosts = domain(1, "network"), domain(2, "web", vif)
    cause = first(*hosts, rules=[delay, down])
    assert (cause["culprit"], cause["cure"]) == ("rule 2", "hvsim fault remove 2")
    alone = first(*hosts, rules=[delay])
    assert alone["what"] == "link-down"


def test_a_frontend_that_takes_nothing_by_a_rule() -> None:
    """Its ring looks as if it had taken all.  Red with a rule that is only a thing to know."""
    hosts = domain(1, "storage"), domain(2, "web", device(2)), domain(3, "db", device(3))
    stop = rule(1, "web/xvda ring=stop half=front", 2, ring="stop", half="front")
    cause = first(*hosts, rules=[stop])
    assert (cause["culprit"], cause["severity"], cause["behind"]) == ("rule 1", "stuck", ["web"])
    assert told(facts(*hosts, rules=[stop | {"fired": 0}]))["well"]
    assert told(facts(*hosts, rules=[stop | {"fired": 2, "times": 2}]))["well"]


def test_pages_that_a_living_domain_keeps_of_a_dead_one() -> None:
    grants = [{"ref": ref, "peer": 1, "gfn": ref, "readers": 0, "writers": 1} for ref in (8, 9)]
    holdings = {"domid": 2, "ports": [], "grants": grants, "mapped": 0, "users": len(grants)}
    dead = domain(2, "web", state="---s-d", holdings=holdings)
    cause = first(domain(1, "storage", restart="always"), dead)
    assert (cause["culprit"], cause["what"]) == ("storage", "grants-held")
    assert cause["text"].startswith("storage (domain 1) has 2 pages of web (domain 2) mapped")
    assert cause["cure"].startswith("hvsim fault kill storage lets go of them: it is made again")


def test_a_domain_that_dies_again_and_again() -> None:
    """Red with one that was made anew as often, whenever that was, and whoever has killed it."""
    restarted = domain(1, "storage", restarts=9)
    assert told(facts(restarted))["well"]
    cause = first(restarted | {"deaths": 3})
    assert (cause["culprit"], cause["what"]) == ("storage", "restart-loop")
    assert cause["text"] == "storage dies again and again: 3 times within a minute"


def test_a_daemon_that_dies_again_and_again() -> None:
    text = "xenconsoled was killed by SIGSEGV: it is started again"
    ledger = [
        {"seq": n, "kind": "init.restart", "domid": 0, "mono": 990e9, "text": text}
        for n in range(4)
    ]
    cause = first(domain(1, "storage"), ledger=ledger)
    assert (cause["culprit"], cause["what"]) == ("xenconsoled", "restart-loop")
    assert cause["cure"] == "log/xenconsoled.log in the lab's run directory says why it dies"


@pytest.mark.parametrize(
    ("kind", "text"), [("fault", "d0 xenstored: kill"), ("fault.fired", "d0 xenstored killed")]
)
def test_a_daemon_that_somebody_kills_again_and_again(kind: str, text: str) -> None:
    """Red when its deaths are counted, whoever asked for them."""
    both = [(kind, text), ("init.restart", "xenstored (pid 7) was killed by SIGKILL: it is")]
    ledger = [
        {"seq": n, "kind": one, "domid": 0, "mono": 990e9, "text": said}
        for n, (one, said) in enumerate(both * 4)
    ]
    assert told(facts(domain(1, "storage"), ledger=ledger))["well"]


@pytest.mark.parametrize(
    ("who", "log", "anew"),
    [
        ("web", "hvsim logs web", "hvsim xl destroy web, and make it again"),
        ("xenstored", "log/xenstored.log in the lab's run directory", "then hvsim down, and"),
        ("kernel", "log/kernel.log in the lab's run directory", "then hvsim down, and"),
        ("qemu-2", "log/qemu-dm-web.log in the lab's run directory", "hvsim xl destroy web, and"),
    ],
)
def test_whose_log_is_where(who: str, log: str, anew: str) -> None:
    """Red with `hvsim logs` for everybody, which knows domains; and a QEMU is none either."""
    assert log_of(Host(facts(domain(2, "web"))), who) == log
    text = f"{who} has died 8 times"
    cause = first(domain(2, "web"), troubles=((who, "given-up", text),))
    assert cause["cure"].startswith(f"{log} says why it dies; {anew}")


@pytest.mark.parametrize(
    ("front", "back", "whose"),
    [
        *((1, 1, BACK), (1, 2, FRONT), (3, 2, BACK), (4, 2, BACK), (3, 4, FRONT), (4, 4, NOBODY)),
        *((2, 2, BOTH), (3, 3, BOTH), (2, 3, BOTH), (None, 4, FRONT), (4, None, BACK)),
        *((4, 5, FRONT), (4, 6, FRONT), (5, 4, BACK), (6, 4, BACK), (6, 6, NOBODY), (6, 5, BACK)),
    ],
)
def test_whose_turn_it_is(front: int | None, back: int | None, whose: str) -> None:
    assert turn(front, back) == whose


def test_of_one_device_or_domain_only() -> None:
    all_ = facts(domain(1, "storage"), waiting(2, "web", 1), domain(3, "db", device(3)))  # type: ignore[arg-type]
    assert [row["device"] for row in told(all_, "db")["devices"]] == ["db/xvda"]
    assert told(all_, "db")["well"]
    assert told(all_, "3/xvda")["devices"][0]["device"] == "db/xvda"
    assert not told(all_, "web/xvda")["well"]
    assert len(told(all_, "storage")["devices"]) == 2
    with pytest.raises(HvsimError, match="there are: storage, web, db; web/xvda, db/xvda"):
        told(all_, "nobody")


def test_what_is_kept_says_the_same_later(tmp_path: Path) -> None:
    before = facts(domain(1, "storage"), waiting(2, "web", 1), troubles=(STOPPED,))  # type: ignore[arg-type]
    about = {"lab": "made-up", "why": ["it hung"]}
    (tmp_path / "post-mortem.json").write_text(json.dumps(about))
    (tmp_path / FACTS).write_bytes(kept(before))
    assert told(facts_of(str(tmp_path))) == told(before)


def test_of_a_lab_that_died_there_is_the_store(tmp_path: Path) -> None:
    about = {"lab": "made-up", "why": ["the hypervisor was killed by SIGKILL"]}
    (tmp_path / "post-mortem.json").write_text(json.dumps(about))
    back = "/local/domain/1/backend/vbd/2/51712"
    tree = {
        "/local/domain/1/name": "storage",
        "/local/domain/2/name": "web",
        "/libxl/2/device/vbd/51712/backend": back,
        f"{back}/state": "2",
        "/local/domain/2/device/vbd/51712/state": "1",
    }
    (tmp_path / "store.txt").write_text("".join(f'{k} = "{v}"\n' for k, v in tree.items()))
    row = told(facts_of(str(tmp_path)), source="post-mortem")
    assert row["findings"][0]["text"] == "the hypervisor was killed by SIGKILL"
    [pair] = row["devices"]
    states = pair["frontend_state"], pair["backend_state"]
    assert (pair["device"], pair["backend"], *states) == ("web/xvda", "storage", 1, 2)


@pytest.mark.parametrize("data", [b"[]", b"{", b'{"picture": 3, "now": 1}'])
def test_facts_that_are_none_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "post-mortem.json").write_text('{"lab": "x", "why": []}')
    (tmp_path / FACTS).write_bytes(data)
    with pytest.raises(HvsimError, match=FACTS):
        facts_of(str(tmp_path))
    with pytest.raises(HvsimError, match="post-mortem"):
        facts_of(str(tmp_path / "nothing"))
