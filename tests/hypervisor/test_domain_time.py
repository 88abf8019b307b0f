"""A domain's time, and the host's time at which it is so much: the inverse, whatever has happened.

Seen red: with a `when` that rounds down; with one that forgets where a jump began.
"""

from hypothesis import given
from hypothesis import strategies as st

from hvsim.hypervisor.domain_time import DomainTime

moments = st.integers(0, 1 << 55)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("jump"), st.integers(0, 1 << 40), st.integers(-(1 << 40), 1 << 40)),
        st.tuples(st.just("drift"), st.integers(0, 1 << 40), st.integers(-200_000, 200_000)),
    ),
    max_size=5,
)


def made(happened: list[tuple[str, int, int]]) -> tuple[DomainTime, int]:
    """The time to which all that has happened, one after the other, and when the last of it was."""
    time, now = DomainTime(), 1_000_000_000
    for what, later, much in happened:
        now += later
        if what == "jump":
            time.jump(now, much)
        else:
            time.drift(now, much)
    return time, now


@given(acts, moments)
def test_when_it_is_due_it_is_that_late_and_not_before(
    happened: list[tuple[str, int, int]], later: int
) -> None:
    time, now = made(happened)
    wanted = time.at(now) + later
    due = time.when(wanted)
    assert due >= now or wanted == time.at(now)
    assert time.at(due) >= wanted
    assert time.at(due - 2) < wanted or due - 2 < now


@given(acts, moments)
def test_of_a_moment_of_the_host_it_is_the_inverse(
    happened: list[tuple[str, int, int]], later: int
) -> None:
    time, now = made(happened)
    moment = now + later
    assert abs(time.when(time.at(moment)) - moment) <= 2


@given(acts, moments)
def test_what_is_past_is_due(happened: list[tuple[str, int, int]], before: int) -> None:
    time, now = made(happened)
    assert time.when(time.at(now) - before) <= now
