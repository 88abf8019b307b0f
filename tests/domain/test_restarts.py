"""How soon what has died is started again, and when no more."""

from hvsim.domain.restarts import LIMIT, WINDOW, Restarts, given_up


def test_the_first_death_of_a_minute_costs_no_wait_and_each_further_one_twice_as_much() -> None:
    lives = Restarts(0.1, 1.5)
    delays = [lives.died(second) for second in range(LIMIT)]
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.8, 1.5, 1.5, None]
    assert lives.count == LIMIT - 1


def test_what_is_more_than_a_minute_ago_is_forgotten() -> None:
    lives = Restarts()
    assert [lives.died(number * WINDOW) for number in range(3 * LIMIT)] == [0.0] * 3 * LIMIT
    assert lives.recent(3 * LIMIT * WINDOW) == 0


def test_a_death_that_was_asked_for_says_nothing_of_the_program() -> None:
    """Red when it is counted: a demo that kills its storage twenty times loses it at the eighth."""
    lives = Restarts()
    assert [lives.died(0.1 * n, struck=True) for n in range(50)] == [0.0] * 50
    assert lives.died(6.0) == 0.0
    assert lives.died(6.1, struck=True) == 0.0
    assert lives.died(6.2) == 0.1
    assert lives.count == 53


def test_it_outlives_who_counts() -> None:
    lives, heir = Restarts(), Restarts()
    for second in range(LIMIT - 1):
        lives.died(second)
    heir.restore(lives.record())
    assert (heir.count, heir.died(8.0)) == (LIMIT - 1, None)


def test_nonsense_is_no_record() -> None:
    records: list[object] = [None, [], {}, {"deaths": 3, "count": 1}, {"deaths": [], "count": "1"}]
    for record in records:
        lives = Restarts()
        lives.restore(record)
        assert (lives.count, lives.died(1.0)) == (0, 0.0)


def test_the_sentence() -> None:
    assert given_up("storage", "no image") == (
        "storage has died 8 times within 60 s and stays dead: no image"
    )
