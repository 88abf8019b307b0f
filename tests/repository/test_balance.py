"""Longest first: tests/support/balance.py."""

from tests.support.balance import longest_first


def test_what_took_long_comes_first_and_whole_labs_before_the_rest() -> None:
    files = ["tests/abi/a.py", "tests/wire/w.py", "tests/qdisk/q.py", "tests/hostile/h.py"]
    assert longest_first(files, {"tests/wire/w.py": 3.0}) == [
        "tests/wire/w.py",
        "tests/hostile/h.py",
        "tests/qdisk/q.py",
        "tests/abi/a.py",
    ]
