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
from hvsim.lab.postmortem import FILE_MAX
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


def test_a_guest_that_writes_nonsense_into_its_ring_blames_nobody() -> None:
    """Red when 4294967295 requests are believed to be unanswered: the cure was to kill storage."""
    ring = {
        **{"domid": 2, "kind": "vbd", "devid": 51712, "slots": 32, "moved": False, "awake": []},
        **{"req_prod": 7, "req_event": 8, "rsp_prod": 8, "rsp_event": 9},
    }
    found = told(facts(domain(1, "storage"), domain(2, "web", device(2)), rings=[ring]))
    assert found["well"], found["findings"]


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
        # Red when the device's name is looked for within the words of the rule:
        (rule(7, "my-web/xvda media=slow", 1, type="vbd", devid=51728), "storage"),
        (rule(7, "web/xvda1 media=slow", 1, type="vbd", devid=51713), "storage"),
        (rule(7, "xenstored freeze=web/xvda@4", 9), "rule 7"),
        (rule(7, '"xenstored" thrash=web/xvda', 9), "rule 7"),
        (rule(7, "web delay=5ms", 1, delay=[0.005, 0.005]), "storage"),
        (rule(7, "web link=down", 1, link="down"), "storage"),
        # Red when a rule that has killed a former life is blamed for ever:
        (rule(7, "storage process=kill", 1, process="kill"), "storage"),
        (rule(7, "storage process=restart-loop", 1, process="restart-loop"), "rule 7"),
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


def test_a_loop_by_a_rule_is_told_with_the_rule_however_it_names_its_target() -> None:
    """Red when the first word of the rule is taken for the culprit's name: told twice."""
    loop = rule(7, "1 process=restart-loop in=1s", 1, process="restart-loop")
    found = told(facts(domain(1, "storage", deaths=5), rules=[loop]))["findings"]
    assert [one["culprit"] for one in found] == ["rule 7"]


def test_who_dies_of_himself_does_not_by_a_rule_that_never_fired() -> None:
    """Red when any rule of that kind hides a loop."""
    loop = rule(7, "storage process=restart-loop in=1h", 1, fired=0, process="restart-loop")
    assert first(domain(1, "storage", deaths=5), rules=[loop])["what"] == "restart-loop"


def test_a_rule_that_will_not_fire_again_keeps_nobody_waiting() -> None:
    """Red when how often it may fire is not looked at.  Who died of its last is told with it; red
    when he is told of once more."""
    spent = {
        **rule(7, "storage process=restart-loop", 1, fired=3, process="restart-loop"),
        "times": 3,
    }
    [cause] = told(facts(domain(1, "storage"), rules=[spent]))["findings"]
    assert cause["severity"] == "note"
    assert "has fired 3 times, and will not again" in cause["text"]
    dead = ("storage", "crashed", "storage (domain 1) has crashed")
    [cause] = told(facts(domain(1, "storage"), rules=[spent], troubles=(dead,)))["findings"]
    assert (cause["culprit"], cause["severity"]) == ("rule 7", "stuck")


@pytest.mark.parametrize("fired", [0, 3])
def test_who_is_stopped_is_not_so_by_a_rule_that_kills(fired: int) -> None:
    """Red when the rule has web wait as well: to take that away lets nobody go on."""
    loop = rule(7, "storage process=restart-loop", 1, fired=fired, process="restart-loop")
    web = domain(2, "web", silent(2, 1))  # type: ignore[arg-type]
    found = told(facts(domain(1, "storage"), web, rules=[loop], troubles=(STOPPED,)))["findings"]
    assert [one["culprit"] for one in found] == ["storage", "rule 7"]
    assert found[0]["cure"] == "hvsim fault resume storage"
    assert (found[1]["behind"], found[1]["evidence"]) == ([], [])


def test_what_a_daemon_that_dies_by_a_rule_keeps_waiting_is_told() -> None:
    """Red when it is told of beside the rule, and when the rule alone does not tell it."""
    dead = ("xenstored", "dead", "xenstored (pid 2) was killed by SIGKILL")
    loop = rule(7, "xenstored process=restart-loop", 0, process="restart-loop")
    loop["process"] = "xenstored"
    [cause] = told(facts(domain(0, "Domain-0"), rules=[loop], troubles=(dead,)))["findings"]
    assert cause["culprit"] == "rule 7"
    assert "whoever asks the store waits" in cause["text"]


def test_of_one_nothing_is_said_of_all() -> None:
    """Red when everything is said to go on, though only what has to do with him was looked at."""
    web = domain(2, "web", silent(2, 1))  # type: ignore[arg-type]
    all_ = facts(domain(1, "storage"), web, domain(3, "calm"), troubles=(STOPPED,))
    assert told(all_, "3")["text"] == "nothing keeps calm waiting, and it keeps nobody waiting"
    assert told(all_, "web")["text"] == "1 cause keeps somebody waiting in vain"


def test_who_has_died_has_not_by_a_rule_that_never_fired() -> None:
    """Red when it is blamed for whatever happens to whom it is about."""
    loop = rule(7, "storage process=restart-loop in=1h", 1, fired=0, process="restart-loop")
    dead = ("storage", "crashed", "storage (domain 1) has crashed")
    cause = first(domain(1, "storage"), rules=[loop], troubles=(dead,))
    assert (cause["culprit"], cause["what"]) == ("storage", "crashed")


def test_the_end_of_dom0s_kernel_is_no_cure() -> None:
    """Red when it is cured as what is started again: killed, it takes the lab along."""
    cause = first(domain(0, "Domain-0"), domain(2, "web", silent(2, 0)))  # type: ignore[arg-type]
    assert cause["culprit"] == "kernel"
    assert "fault kill" not in cause["cure"]
    assert "hvsim xl block-detach web 51712, and attach it again" in cause["cure"]


def test_since_when_a_process_is_stopped_is_not_what_another_was() -> None:
    """Red when the record of qemu-12 is taken for one of qemu-1."""
    text = "qemu-1 (pid 9) stands still (SIGSTOP); `hvsim fault resume qemu-1` lets it go on"
    ledger = [
        {"seq": n, "kind": "fault", "domid": 0, "mono": at * 1e9, "text": f"d0 {who}: stall"}
        for n, (who, at) in enumerate([("qemu-1", 990.0), ("qemu-12", 999.0)])
    ]
    cause = first(domain(0, "Domain-0"), troubles=(("qemu-1", "stalled", text),), ledger=ledger)
    assert (cause["culprit"], cause["since"]) == ("qemu-1", 10.0)


@pytest.mark.parametrize(
    ("what", "cure"),
    [("stalled", "hvsim fault resume hypervisor"), ("dead", "hvsim postmortem")],
)
def test_whoever_is_asked_about_when_the_hypervisor_is_silent(what: str, cure: str) -> None:
    """Red when a domain that nobody can tell of is said not to be there; and with the cure of a
    domain for a hypervisor that is dead: `hvsim xl destroy hypervisor`."""
    found = told(facts(troubles=(("hypervisor", what, "the hypervisor is silent"),)), "web/xvda")
    assert [one["culprit"] for one in found["findings"]] == ["hypervisor"]
    assert found["findings"][0]["cure"].startswith(cure)


def test_dom0s_kernel_is_not_started_again() -> None:
    """Red when it is waited for like any other process of dom0."""
    dead = ("kernel", "dead", "kernel (pid 3) was killed by SIGKILL")
    assert first(domain(0, "Domain-0"), troubles=(dead,))["cure"].startswith("wait: the lab ends")


@pytest.mark.parametrize(
    ("ref", "culprit", "cure"),
    [
        (0, "xenconsoled", "hvsim fault kill xenconsoled lets go of them: it is made again"),
        (1, "xenstored", "hvsim fault kill xenstored lets go of them: it is made again"),
        (9, "kernel", "hvsim down"),
    ],
)
def test_pages_that_dom0_keeps_of_a_dead_one(ref: int, culprit: str, cure: str) -> None:
    """Red when Domain-0 is the culprit: the cure was to kill it, and the lab with it."""
    grants = [{"ref": ref, "peer": 0, "gfn": 5, "readers": 0, "writers": 1}]
    holdings = {"domid": 2, "ports": [], "grants": grants, "mapped": 0, "users": 1}
    dead = domain(2, "web", state="---s-d", holdings=holdings)
    cause = first(domain(0, "Domain-0"), dead)
    assert (cause["culprit"], cause["what"]) == (culprit, "grants-held")
    assert cause["text"].startswith(f"{culprit} has 1 page of web (domain 2) mapped")
    assert cause["cure"].startswith(cure)


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
    all_.picture["processes"].append({"name": "xenstored"})  # type: ignore[typeddict-item]
    assert told(all_, "xenstored")["well"], "red when nobody but domains is known"
    with pytest.raises(HvsimError, match="there are: storage, web, db; web/xvda, db/xvda"):
        told(all_, "nobody")


def test_what_is_kept_says_the_same_later(tmp_path: Path) -> None:
    before = facts(domain(1, "storage"), waiting(2, "web", 1), troubles=(STOPPED,))  # type: ignore[arg-type]
    about = {"lab": "made-up", "why": ["it hung"]}
    (tmp_path / "post-mortem.json").write_text(json.dumps(about))
    (tmp_path / FACTS).write_bytes(kept(before))
    assert told(facts_of(str(tmp_path))) == told(before)


@pytest.mark.parametrize(("domains", "found"), [(60, "storage"), (1500, "nothing")])
def test_what_is_kept_of_a_large_lab_can_be_read(tmp_path: Path, domains: int, found: str) -> None:
    """Red when only the ledger is cut short: the file was longer than a folder takes, its beginning
    was left out, and the doctor said that it is malformed."""
    grants = [{"ref": ref, "peer": 1, "gfn": ref, "readers": 0, "writers": 1} for ref in range(99)]
    holdings = {"domid": 2, "ports": [], "grants": grants, "mapped": 0, "users": 99}
    guests = [domain(n, f"web{n}", silent(n), holdings=holdings) for n in range(2, domains)]  # type: ignore[arg-type]
    data = kept(facts(domain(1, "storage"), *guests, troubles=(STOPPED,)))
    assert len(data) <= FILE_MAX
    (tmp_path / FACTS).write_bytes(data)
    (tmp_path / "post-mortem.json").write_text('{"lab": "large", "why": ["it fell"]}')
    (tmp_path / "store.txt").write_text("")
    for file in tmp_path.iterdir():
        file.chmod(0o600)
    if found != "storage":
        with pytest.raises(HvsimError, match=r"too large for its facts to be kept; doctor\.txt"):
            facts_of(str(tmp_path))
    else:
        assert told(facts_of(str(tmp_path)))["findings"][0]["culprit"] == found


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
