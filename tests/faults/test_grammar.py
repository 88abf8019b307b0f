"""A rule in words: what it means, and what is said of one that makes no sense.

Seen red: `_when` without ``nth``, `_flat` that takes no tables, `forms.read` without its choices.
"""

from __future__ import annotations

import pytest

from hvsim.faults.catalogue import FAMILIES, WHEN
from hvsim.faults.forms import FORMS, SHOWN, FormError, read
from hvsim.faults.grammar import RuleError, of_table, parse
from hvsim.wire.fault import Trigger, When


def test_a_rule_of_the_command_line() -> None:
    draft = parse("web/xvda", ["media=eio", "op=write", "sector=8..15", "after=100", "times=3"])
    assert draft.family.name == "media"
    assert draft.settings == {"media": "eio", "op": "write", "sector": [8, 15]}
    assert draft.when == When(after=100, times=3)
    assert draft.text == "web/xvda media=eio op=write sector=8..15 after=100 times=3"


def test_words_of_every_rule() -> None:
    draft = parse("a b", ["media=slow", "by=5ms..20ms", "chance=2%", "for=3min", "seed=9"])
    assert draft.settings == {"media": "slow", "by": [0.005, 0.02]}
    assert (draft.when.chance, draft.seconds, draft.seed) == (0.02, 180.0, 9)
    assert draft.text.startswith('"a b" ')
    assert parse("web", ["media=eio", "nth=3"]).when == When(after=2, times=1)


def test_a_table_of_a_file_is_the_same_rule() -> None:
    table = {"target": "a -> b", "bell": {"drop": "5%"}, "times": 2}
    assert of_table(table) == parse("a -> b", ["bell.drop=5%", "times=2"])


def test_a_small_number_of_a_file_is_the_one_that_stands_there() -> None:
    """Red when Python's own form of it is read: '1e-05' is no share."""
    draft = of_table({"target": "web/eth0", "drop": 0.00001})
    assert draft.text == "web/eth0 drop=0.00001"
    assert draft.settings == {"drop": 0.00001}


@pytest.mark.parametrize("words", [["cpu=20%", "times=3"], ["clock.jump=5s", "after=2"]])
def test_what_has_no_events_cannot_choose_among_them(words: list[str]) -> None:
    """Red when they are taken: they came to nothing."""
    with pytest.raises(RuleError, match="has no events to choose among; for=TIME says for how"):
        parse("web", words)
    assert parse("web", [words[0], "for=2s", "seed=4"]).seconds == 2.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "web: what is to be broken? `hvsim fault list --available` tells"),
        (["media"], "'media': a word is KEY=VALUE, such as media=eio"),
        (["media=eio", "media=flip"], "'media' is said twice"),
        (["media=explode"], "media: 'explode' is none of eio, full, slow, short, torn, "),
        (["op=write"], "op: no word says what is to be broken; there are "),
        (["anwser=never"], "anwser: no word says what is to be broken; did you mean 'answer'?"),
        (["media=eio", "cpu=20%"], "one rule cannot be about cpu and media: make a rule of each"),
        (["media=eio", "colour=red"], "'colour' is no word of a fault of media: media, op, "),
        (["media=eio", "op=erase"], "op: 'erase' is none of read, write, flush, discard"),
        (["media=eio", "times=0"], "times: '0' is no count, such as 3"),
        (["media=eio", "times=x"], "times: 'x' is no count, such as 3"),
        (["media=eio", "chance=120%"], "chance: '120%' is no share, such as 2% or 0.02"),
        (["media=eio", "sector=9..2"], "sector: '9..2' ends before it begins"),
        (["media=slow", "by=20"], "by: '20' is no time, such as 20ms or 5s (us, ms, s, min, h)"),
        (["media=eio", "nth=2", "times=1"], "nth: not together with after, every or times"),
        ([f"k{n}=1" for n in range(30)], "web: a rule has 24 words at most"),
    ],
)
def test_what_makes_no_sense_is_said(words: list[str], said: str) -> None:
    with pytest.raises(RuleError) as wrong:
        parse("web", words)
    assert str(wrong.value).startswith(said)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"media": "eio"}, "a fault needs its target"),
        ({"target": "web", "media": True}, "media: a text or a number is wanted"),
        ({"target": "web", "media": ["eio"]}, "media: a text or a number is wanted"),
    ],
)
def test_a_table_that_makes_no_sense(table: dict[str, object], said: str) -> None:
    with pytest.raises(RuleError, match=said):
        of_table(table)


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        ("count", "3", 3),
        ("number", "0", 0),
        ("chance", "2%", 0.02),
        ("chance", "0.5", 0.5),
        ("time", "20ms", 0.02),
        ("time", "1.5h", 5400.0),
        ("times", "1ms", [0.001, 0.001]),
        ("shift", "-2h", -7200.0),
        ("shift", "+5s", 5.0),
        ("range", "7", [7, 7]),
        ("rate", "10mbit", 10e6),
        ("rate", "1.5Gbit/s", 1.5e9),
        ("ppm", "-50ppm", -50.0),
        ("text", "/local/domain", "/local/domain"),
    ],
)
def test_forms(form: str, text: str, value: object) -> None:
    assert read(form, text) == value


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("count", "\N{ARABIC-INDIC DIGIT THREE}"),
        ("count", "9" * 40),
        ("number", "-1"),
        ("chance", "0"),
        ("time", "1e3s"),
        ("time", "1000000h"),
        ("shift", "--5s"),
        ("rate", "0bit"),
        ("ppm", "0ppm"),
        ("program", "stand"),
        ("program", "my/faults:stand"),
        ("ppm", "600000ppm"),
        ("text", ""),
        ("text", "a\nb"),
    ],
)
def test_what_is_not_of_the_form(form: str, text: str) -> None:
    with pytest.raises(FormError):
        read(form, text)


def test_every_form_of_the_catalogue_is_one() -> None:
    words = [word for family in FAMILIES for word in (*family.faults, *family.settings)]
    for word in (*words, *WHEN):
        assert word.text
        if word.form and "|" not in word.form:
            assert word.form in FORMS
            assert word.form in SHOWN
        assert bool(word.form) != ("=" in word.key), word
    keys = [{word.key.partition("=")[0] for word in family.faults} for family in FAMILIES]
    assert sum(map(len, keys)) == len(set().union(*keys)), "one family for each key"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ring=stop", "by=1"], "by: says nothing but of ring=warp"),
        (["grant=hold", "status=no_space"], "status: says nothing but of grant=fail-map and grant"),
        (["media=eio", "by=1ms"], "by: says nothing but of media=slow"),
    ],
)
def test_a_word_that_would_mean_nothing_is_refused(words: list[str], said: str) -> None:
    """Red without the look at whom a setting says more of: it was taken, and did nothing."""
    with pytest.raises(RuleError) as wrong:
        parse("web/xvda", words)
    assert str(wrong.value).startswith(said)


@pytest.mark.parametrize("words", [["media=slo", "by=1ms"], ["by=1ms", "media=slo"]])
def test_of_a_fault_that_is_none_its_settings_are_not_blamed(words: list[str]) -> None:
    """Red when they are looked at first: "by: says nothing but of media=slow"."""
    with pytest.raises(RuleError, match="media: 'slo' is none of eio, "):
        parse("web/xvda", words)


def test_every_setting_is_of_faults_of_its_family() -> None:
    for family in FAMILIES:
        known = {word.key for word in family.faults}
        assert all(set(word.of) <= known for word in family.settings), family.name


def test_a_trigger_counts_as_its_rule_says() -> None:
    def fired(when: When, events: int = 12) -> list[int]:
        rolls = iter([0.9, 0.1] * events)
        trigger = Trigger(when, lambda: next(rolls))
        return [number for number in range(1, events + 1) if trigger.fires()]

    assert fired(When(), 3) == [1, 2, 3]
    assert fired(When(after=2), 4) == [3, 4]
    assert fired(When(every=5)) == [1, 6, 11]
    assert fired(When(after=1, every=3, times=2)) == [2, 5]
    assert fired(When(chance=0.5), 6) == [2, 4, 6]
    assert fired(When(chance=0.5, times=1), 6) == [2]
    spent = Trigger(When(times=2), lambda: 0.0, fired=2)
    assert (spent.spent, spent.fires()) == (True, False)
