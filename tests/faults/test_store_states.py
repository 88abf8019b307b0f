"""Handshakes that stand still, and states that are written over and over, by rules.

Seen red: with `Frozen._write` that passes everything on, and with `Thrash._go_on` that writes
nothing, each of its kind; with `_asks` that never holds, the toolstack's; with a `Shelf` that
keeps nothing, the two about another process of the store, and the one about the bound.
"""

from __future__ import annotations

import pytest

from tests.faults.storerig import BACK, FRONT, STORAGE, WEB, XVDA, Rig


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.web.ask("WATCH", f"{BACK}/state", "otherend")
    made.web.take_events()
    return made


def test_a_half_that_leaves_the_state_does_not(rig: Rig) -> None:
    lift = rig.rule("freeze=web/xvda@2")
    assert rig.back(2) == "OK"
    assert rig.back(4) == "OK", "it is told that it did"
    assert rig.states() == ("1", "2")
    assert rig.front(3) == "OK"
    assert rig.states() == ("1", "2")
    assert rig.web.take_events() == [(f"{BACK}/state", "otherend")], "of the 2"
    assert rig.told == ["web/xvda: backend's 4 held back", "web/xvda: frontend's 3 held back"]
    rig.back(5)
    assert rig.states() == ("1", "2")
    lift()
    assert rig.states() == ("3", "5")
    assert rig.web.take_events() == [(f"{BACK}/state", "otherend")] * 2, "4, then 5"
    assert rig.dom0.ask("DIRECTORY", "/tool") == "xenstored", "nothing of it is left"
    assert rig.sound()


def test_one_half_only(rig: Rig) -> None:
    rig.rule("freeze=web/xvda@2", "half=front")
    rig.back(4)
    rig.front(3)
    assert rig.states() == ("1", "4")


def test_what_a_transaction_holds_back_is_held_when_it_succeeds(rig: Rig) -> None:
    lift = rig.rule("freeze=web/xvda@1")
    tx = rig.web.begin()
    rig.web.ask("WRITE", f"{FRONT}/ring-ref", "8", tx=tx)
    assert rig.front(3, tx) == "OK"
    assert rig.web.end(tx, commit=False) == "OK"
    tx = rig.web.begin()
    rig.web.ask("WRITE", f"{FRONT}/ring-ref", "9", tx=tx)
    assert rig.front(4, tx) == "OK"
    assert rig.web.end(tx) == "OK"
    assert rig.dom0.ask("READ", f"{FRONT}/ring-ref") == "9"
    assert rig.states() == ("1", "1")
    seen = rig.store.watches.add(rig.dom0.connection.session, f"{FRONT}/state".encode(), 0, b"t")
    lift()
    rig.store.watches.remove(seen)
    assert rig.states() == ("4", "1")
    assert rig.dom0.take_events() == [(f"{FRONT}/state", "t")], "the 3 was given up"


def test_a_half_that_begins_anew_has_given_up_what_was_held(rig: Rig) -> None:
    lift = rig.rule("freeze=web/xvda@2")
    rig.back(4)
    rig.back(1)
    lift()
    assert rig.states() == ("1", "1")


def test_the_toolstack_may_ask_and_no_half_answers(rig: Rig) -> None:
    rig.rule("freeze=web/xvda@4")
    rig.back(4)
    rig.dom0.connection.session.name = "s1"
    assert rig.dom0.ask("WRITE", f"{BACK}/state", "5") == "OK"
    assert rig.states() == ("1", "5")
    rig.back(6)
    assert rig.states() == ("1", "5")


def test_a_program_may_write_what_is_no_state(rig: Rig) -> None:
    """Red when each is looked up among the states: a bug of the store, EIO."""
    rig.rule("freeze=web/xvda@4")
    rig.dom0.connection.session.name = "s1"
    assert rig.dom0.ask("WRITE", f"{BACK}/state", "9") == "OK"
    assert rig.dom0.ask("READ", f"{BACK}/state") in ("1", "9")


def test_other_devices_go_on(rig: Rig) -> None:
    rig.rule("freeze=web/xvdb@1")
    assert rig.back(2) == "OK"
    assert rig.states() == ("1", "2")


def test_a_write_that_passes_lets_those_before_it_go_first(rig: Rig) -> None:
    rig.rule("freeze=web/xvda@1", "times=1")
    rig.back(2)
    assert rig.states() == ("1", "1")
    rig.web.take_events()
    rig.back(4)
    assert rig.states() == ("1", "4")
    assert rig.web.take_events() == [(f"{BACK}/state", "otherend")] * 2


def test_a_guest_cannot_freeze_what_is_not_its_own(rig: Rig) -> None:
    rig.rule("freeze=web/xvda@1")
    assert rig.web.ask("WRITE", f"{BACK}/state", "4") == "EACCES"
    assert rig.told == []


def test_a_frozen_device_of_a_domain_that_died(rig: Rig) -> None:
    lift = rig.rule("freeze=web/xvda@1")
    rig.front(3)
    rig.end(rig.web)
    rig.dom0.ask("RM", f"/local/domain/{WEB}")
    web = rig.domain("web", 9)
    rig.disk(9)
    assert web.ask("WRITE", f"device/vbd/{XVDA}/state", "4") == "OK"
    assert web.ask("READ", f"device/vbd/{XVDA}/state") == "1"
    lift()
    assert web.ask("READ", f"device/vbd/{XVDA}/state") == "4"
    assert rig.dom0.ask("READ", f"{FRONT}/state") == "ENOENT"


def test_what_is_held_back_is_bounded_and_hidden_from_guests(rig: Rig) -> None:
    lift = rig.rule("freeze=web/xvda@1")
    for _ in range(100):
        rig.front(3)
    assert len(rig.dom0.ask("DIRECTORY", "/tool/hvsim/held/1").split()) == 64
    assert rig.web.ask("DIRECTORY", "/tool/hvsim/held/1") == "EACCES"
    lift()
    assert rig.states() == ("3", "1")


def test_what_is_held_back_may_be_taken_away_by_hand(rig: Rig) -> None:
    lift = rig.rule("freeze=web/xvda@1")
    rig.front(3)
    assert rig.dom0.ask("RM", "/tool/hvsim") == "OK"
    assert rig.front(1) == "OK"
    assert rig.front(4) == "OK"
    lift()
    assert rig.states() == ("4", "1")


def test_another_process_of_the_store_holds_it_still(rig: Rig) -> None:
    rig.rule("freeze=web/xvda@1")
    rig.front(3)
    rig.begin_anew()
    lift = rig.rule("freeze=web/xvda@1", fired=1)
    rig.back(2)
    assert rig.states() == ("1", "1")
    lift()
    assert rig.states() == ("3", "2")


# -- thrash ------------------------------------------------------------------------------------


def test_a_state_is_written_over_and_over(rig: Rig) -> None:
    rig.back(4)
    rig.web.take_events()
    lift = rig.rule("thrash=web/xvda", "rate=100")
    seen = []
    for _ in range(4):
        rig.after(0.011)
        seen.append(rig.states()[1])
    assert seen == ["3", "4", "3", "4"]
    assert len(rig.web.take_events()) == 4
    assert rig.told[0] == "web/xvda: backend in 3"
    rig.after(0.011)
    lift()
    assert rig.states() == ("1", "4"), "as it was"
    rig.after(1.0)
    assert rig.states() == ("1", "4")
    assert rig.dom0.ask("DIRECTORY", "/tool") == "xenstored"
    assert rig.store.tree.nodes[f"{BACK}/state".encode()].perms[0].domid == STORAGE


def test_the_front_between_two_others_so_often(rig: Rig) -> None:
    rig.front(3)
    rig.rule("thrash=web/xvda", "half=front", "between=5..6", "times=3")
    seen = []
    for _ in range(5):
        rig.after(0.11)
        seen.append(rig.states()[0])
    assert seen == ["5", "6", "5", "3", "3"], "three times, and then as it was"


def test_the_half_itself_has_the_last_word(rig: Rig) -> None:
    lift = rig.rule("thrash=web/xvda")
    rig.after(0.11)
    rig.back(2)
    rig.after(0.11)
    assert rig.states() == ("1", "3")
    lift()
    assert rig.states() == ("1", "2")


def test_another_process_of_the_store_knows_what_it_was(rig: Rig) -> None:
    rig.back(2)
    rig.rule("thrash=web/xvda")
    rig.after(0.11)
    rig.begin_anew()
    lift = rig.rule("thrash=web/xvda", fired=1)
    lift()
    assert rig.states() == ("1", "2")


def test_a_device_that_is_not_there_is_left_alone(rig: Rig) -> None:
    rig.rule("thrash=web/xvdb")
    rig.after(1.0)
    assert rig.told == []
    rig.web.ask("WRITE", f"{FRONT}/backend", f"/local/domain/{STORAGE}/data")
    rig.rule("thrash=web/xvda", number=2)
    rig.after(1.0)
    assert rig.told == [], "a frontend says where its backend is, and may lie"


@pytest.mark.parametrize("words", [("between=3..3",), ("between=0..4",), ("rate=2000",)])
def test_words_that_make_no_sense(rig: Rig, words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"states|a second"):
        rig.rule("thrash=web/xvda", *words)
