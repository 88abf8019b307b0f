"""The ledger: bounded, numbered, and who waits for a record is told."""

from functools import partial

from hvsim.hypervisor.ledger import MAX_WAITING, Ledger


def test_ledger_is_bounded_and_numbered() -> None:
    ledger = Ledger(lambda: 0, size=5)
    for number in range(12):
        ledger.record("x", -1, str(number))
    assert [record["seq"] for record in ledger.after(0, 99)] == [8, 9, 10, 11, 12]
    assert [record["seq"] for record in ledger.after(9, 2)] == [10, 11]
    assert ledger.after(12, 9) == []


def test_who_waits_for_a_record_is_told_once() -> None:
    """Red when ``tell`` does not look at the number: who has seen it already is told again."""
    ledger, told = Ledger(lambda: 0), []
    ledger.record("x", -1, "1")
    ledger.wait(1, lambda: told.append("next"))
    ledger.wait(2, lambda: told.append("one later"))
    assert told == []
    ledger.record("x", -1, "2")
    assert told == ["next"]
    ledger.record("x", -1, "3")
    ledger.record("x", -1, "4")
    assert told == ["next", "one later"]


def test_many_records_are_told_of_at_once() -> None:
    """Red without ``_telling``: each record is a call."""
    ledger, calls = Ledger(lambda: 0), []
    ledger.on_news = lambda: calls.append(ledger.seq)
    ledger.record("x", -1, "nobody waits")
    ledger.wait(1, lambda: None)
    for _ in range(3):
        ledger.record("x", -1, "somebody does")
    assert calls == [2]
    ledger.tell()
    ledger.wait(4, lambda: None)
    ledger.record("x", -1, "again")
    assert calls == [2, 5]


def test_of_too_many_who_wait_the_first_is_told() -> None:
    ledger = Ledger(lambda: 0)
    told: list[int] = []
    for number in range(MAX_WAITING + 2):
        ledger.wait(0, partial(told.append, number))
    assert told == [0, 1]
    ledger.record("x", -1, "for all")
    assert told == list(range(MAX_WAITING + 2))
