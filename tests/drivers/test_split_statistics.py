"""The figures of a device: said when asked, believed only where they are figures."""

from hypothesis import given
from hypothesis import strategies as st

from hvsim.drivers.split.statistics import ANSWER_MAX, answer, parse

names = st.from_regex(r"[a-z0-9_-]{1,40}", fullmatch=True)


@given(st.dictionaries(names, st.integers(0, (1 << 64) - 1), max_size=20))
def test_what_is_said_reads_back(figures: dict[str, int]) -> None:
    assert parse(answer("7f.1", figures), "7f.1") == figures


def test_an_answer_is_bounded() -> None:
    text = answer("t", {f"name-{number}": number for number in range(1000)})
    assert len(text) <= ANSWER_MAX
    found = parse(text, "t")
    assert found is not None
    assert found["name-0"] == 0


def test_an_answer_to_somebody_else_is_none() -> None:
    assert parse("1 a=2", "2") is None
    assert parse("", "2") is None


@given(st.text(max_size=300))
def test_any_text_is_an_answer(text: str) -> None:
    found = parse(f"t {text}", "t")
    assert found is not None
    assert found.keys() <= {pair.partition("=")[0] for pair in text.split(" ")}


@given(names, st.sampled_from(["-1", "+1", "1.0", "", "x", "1_0", "0x1", "\u0661", "1" * 21, "=1"]))
def test_a_pair_that_is_none_is_left_out(name: str, figure: str) -> None:
    """Red with a pattern that takes a sign, a letter's digit, or any number of digits."""
    assert parse(f"t {name}={figure} a=1", "t") == {"a": 1}


def test_only_whole_pairs_count() -> None:
    assert parse("t a=1 b=-1 c=x =4 d= e=5=6 A=7 f=8", "t") == {"a": 1, "f": 8}
