"""Who stands still, from fabricated lists: each state has its own word, and nobody else's name."""

from typing import Any

import pytest

from hvsim.toolstack.host.parts import server_process
from hvsim.toolstack.host.trouble import Trouble, last_words_in
from tests.toolstack.fabricated import PIDS, census, domain, process


@pytest.mark.parametrize("name", PIDS)
def test_a_process_of_dom0_that_stands_still(name: str) -> None:
    found = census([PIDS[name]])
    assert found.dom0(name) == Trouble(
        name,
        "stalled",
        f"{name} (pid {PIDS[name]}) stands still (SIGSTOP); `hvsim fault resume {name}` lets it go "
        "on",
        True,
    )
    assert [one.who for one in found.everybody()] == [name]


def test_nobody_has_trouble() -> None:
    found = census()
    assert found.everybody() == []
    assert found.dom0("qemu-7") is None, "what a lab does not have is no trouble"


def rows(*dead: dict[str, Any]) -> list[dict[str, Any]]:
    names = {row["process"] for row in dead}
    return [process(0, name, pid) for name, pid in PIDS.items() if name not in names] + list(dead)


def test_a_daemon_that_has_died_comes_back() -> None:
    found = census(processes=rows(process(0, "xenstored", 11, False, 9)))
    assert found.dom0("xenstored") == Trouble(
        "xenstored",
        "dead",
        "xenstored (pid 11) was killed by SIGKILL: it is being started again",
        False,
    )
    ended = census(processes=rows(process(0, "xenstored", 11, False, 3 << 8))).dom0("xenstored")
    assert ended is not None
    assert "ended with exit status 3" in ended.text


def test_a_daemon_that_is_being_made_is_no_trouble() -> None:
    again = {**process(0, "xenstored", 0, False), "gone": False}
    assert census(processes=rows(process(0, "xenstored", 11, False, 9), again)).everybody() == []


def test_nobody_starts_a_real_store_again() -> None:
    found = census(processes=rows(process(0, "xenstored", 11, False, 9)), mourned="xenstored")
    trouble = found.dom0("xenstored")
    assert trouble is not None
    assert (trouble.what, trouble.lasting) == ("given-up", True)
    assert "nobody can bring that back" in trouble.text


def test_who_would_start_it_again_stands_still() -> None:
    """Red when it only says that it is being started: it is not."""
    trouble = census([12], rows(process(0, "toolstack", 14, False, 9))).dom0("toolstack")
    assert trouble is not None
    assert (trouble.who, trouble.what, trouble.lasting) == ("kernel", "stalled", True)
    assert trouble.text.startswith("toolstack (pid 14) was killed by SIGKILL, and kernel (pid 12) ")


def test_what_init_has_given_up() -> None:
    told = {"xenconsoled": {"given_up": "xenconsoled has died 8 times"}}
    found = census(processes=rows(process(0, "xenconsoled", 13, False, 256)), daemons=told)
    assert found.dom0("xenconsoled") == Trouble(
        "xenconsoled", "given-up", "xenconsoled has died 8 times", True
    )


@pytest.mark.parametrize(
    ("flags", "what", "text", "lasting"),
    [
        (
            {"paused": True},
            "paused",
            "storage (domain 1) is paused; `hvsim xl unpause storage` lets it go on",
            False,
        ),
        ({"shutdown": True, "crashed": True}, "crashed", "storage (domain 1) has crashed", True),
        ({"shutdown": True}, "shutdown", "storage (domain 1) has shut down", True),
        ({"dying": True}, "gone", "storage (domain 1) is being destroyed", True),
    ],
)
def test_a_domain(flags: dict[str, bool], what: str, text: str, lasting: bool) -> None:
    found = census([21] if what == "paused" else [], domains=[domain(1, **flags)])
    assert found.domain(1) == Trouble("storage", what, text, lasting)
    assert found.server("vbd", 2, 1) == found.domain(1)


def test_a_paused_domain_is_not_called_stalled_and_a_stalled_one_not_paused() -> None:
    """Both are stopped by SIGSTOP: what tells them apart is who did it."""
    paused = census([21], domains=[domain(1, paused=True)]).domain(1)
    assert paused is not None
    assert paused.what == "paused"
    stalled = [{**process(1, "main", 21), "stalled": True}]
    both = census([21], processes=stalled, domains=[domain(1, paused=True)]).domain(1)
    assert both is not None
    assert both.what == "stalled"


def test_one_that_a_fault_has_made_slow_does_not_stand_still() -> None:
    """It is stopped and let go on many times a second; red without the look at `slowed`."""
    slowed = {**process(1, "main", 21), "slowed": True}
    assert census([21], processes=[slowed]).domain(1) is None
    both = census([21], processes=[{**slowed, "stalled": True}]).domain(1)
    assert both is not None
    assert both.what == "stalled"


def test_a_domain_that_is_gone_or_given_up() -> None:
    assert census(domains=[]).domain(1) == Trouble(
        "storage", "gone", "storage (domain 1) is gone", True
    )
    assert census().domain(9) == Trouble("domain 9", "gone", "domain 9 is gone", True)
    found = census(dead={1: "storage has died 8 times"})
    assert found.domain(1) == Trouble("storage", "given-up", "storage has died 8 times", True)
    assert [one.who for one in found.everybody()] == ["storage"]


def test_the_last_words_of_a_crashed_domain() -> None:
    console = "(XEN) booted\n(d1) first\n(d11) other\n(d1) last\n(XEN) Domain 1 crashed\n"
    assert last_words_in(console, 1) == "last"
    assert last_words_in(console, 3) == ""
    crashed = census(
        domains=[domain(1, shutdown=True, crashed=True)],
        last_words=lambda domid: last_words_in(console, domid),
    ).domain(1)
    assert crashed is not None
    assert crashed.text == "storage (domain 1) has crashed: last"


def test_who_serves_what() -> None:
    assert server_process("vbd", 3) == server_process("vif", 3) == "kernel"
    assert server_process("qdisk", 3) == "qemu-3"
    qemu = [*rows(), process(0, "qemu-3", 33)]
    trouble = census([33], processes=qemu).server("qdisk", 3, 0)
    assert trouble is not None
    assert trouble.who == "qemu-3"
    assert census([33], processes=qemu).server("vbd", 3, 0) is None


def test_programs_of_people_are_nobody_s_trouble() -> None:
    assert census([40], [*rows(), process(0, "exec-0", 40)]).everybody() == []


def test_why_a_domain_has_crashed_when_it_could_not_say() -> None:
    dead = [*rows(), process(1, "main", 21, False, 11)]
    killed = census(processes=dead, domains=[domain(1, shutdown=True, crashed=True)]).domain(1)
    assert killed is not None
    assert killed.text == (
        "storage (domain 1) has crashed: its process (pid 21) was killed by SIGSEGV"
    )
    late = {**domain(1, shutdown=True), "shutdown_reason": 4}
    ran_out = census(domains=[late]).domain(1)
    assert ran_out is not None
    assert (ran_out.what, ran_out.text) == (
        "crashed",
        "storage (domain 1) has crashed: its watchdog ran out",
    )
