"""Faults and tapes for tests with hypothesis (``hvsim[testing]``).

    @given(rule=rules("storage", "web/xvda"), tape=tapes())

A rule is text as `hvsim fault add` takes it and a table as a scenario holds it; what is drawn is
one that the grammar takes, of a family that knows such a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hypothesis import strategies as st

from hvsim.abi.xs_wire import ERROR_NUMBERS
from hvsim.explore.job import Choices
from hvsim.faults.catalogue import FAMILIES, Family, Word
from hvsim.faults.grammar import Draft, RuleError, parse

NUMBER_MAX: Final = 2_000
"""Of the choices of a tape that is drawn."""

_COUNT: Final = st.integers(1, 50).map(str)
_TIME: Final = st.integers(1, 50).map(lambda number: f"{number}ms")
_FORMS: Final[Mapping[str, st.SearchStrategy[str]]] = {
    "count": _COUNT,
    "number": _COUNT,
    "chance": st.integers(1, 100).map(lambda share: f"{share}%"),
    "time": _TIME,
    "times": _TIME,
    "shift": st.tuples(st.sampled_from("+-"), _TIME).map("".join),
    "range": st.tuples(st.integers(0, 7), st.integers(0, 8)).map(
        lambda pair: f"{pair[0]}..{sum(pair)}"
    ),
    "rate": st.integers(1, 100).map(lambda rate: f"{rate}mbit"),
    "per-second": st.integers(1, 1000).map(lambda rate: f"{rate}/s"),
    "ppm": st.integers(1, 500).map(lambda drift: f"{drift}ppm"),
    "steps": st.integers(1, 64).map(str),
    "text": st.just("text"),
    "path": st.just("device"),
    "errno": st.sampled_from(sorted(ERROR_NUMBERS)),
}


def rules(*targets: str) -> st.SearchStrategy[Draft]:
    """A rule about one of the *targets*: "web/xvda" (a vbd, or by its name a vif), "a <-> b",
    "storage", "xenstored".

    Raises: ValueError when there are none.
    """
    if not targets:
        raise ValueError("rules: a target is wanted")
    pairs = [(target, family) for target in targets for family in families(target)]
    return st.sampled_from(pairs).flatmap(lambda pair: _of(*pair))


def families(target: str) -> list[Family]:
    """Whose faults fit it, and whose words can be drawn."""
    kind, types = _kind(target)
    return [
        family
        for family in FAMILIES
        if kind in family.targets and (not types or not family.types or types in family.types)
        if _drawable(family)
    ]


def tapes(most: int = 30) -> st.SearchStrategy[Choices]:
    """A tape of at most so many choices."""
    numbers = st.integers(0, NUMBER_MAX - 1)
    return st.dictionaries(numbers, st.integers(1, 4), max_size=most).map(
        lambda tape: tuple(sorted(tape.items()))
    )


def _kind(target: str) -> tuple[str, str]:
    if " " in target:
        return "pair", ""
    if "/" in target:
        return "device", "vif" if target.rpartition("/")[2].startswith("eth") else "vbd"
    return ("store", "") if target == "xenstored" else ("domain", "")


def _drawable(family: Family) -> bool:
    return not family.needs and any(_drawn(word) is not None for word in family.faults)


def _drawn(word: Word) -> st.SearchStrategy[str] | None:
    """The word with a value; None for one that names a domain or a device of the lab."""
    if not word.form:
        return st.just(word.key)
    values = _FORMS.get(word.form)
    if values is None and "|" in word.form:
        values = st.sampled_from(word.form.split("|"))
    return None if values is None else values.map(lambda value: f"{word.key}={value}")


def _of(target: str, family: Family) -> st.SearchStrategy[Draft]:
    faults = [drawn for word in family.faults if (drawn := _drawn(word)) is not None]
    when = st.sampled_from(("", "after=3", "nth=2", "every=4", "times=3", "chance=20%", "for=2s"))
    return st.tuples(st.one_of(faults), when, _settings(family)).flatmap(
        lambda words: _parsed(target, words[0], words[1], words[2])
    )


def _settings(family: Family) -> st.SearchStrategy[str]:
    known = [drawn for word in family.settings if (drawn := _drawn(word)) is not None]
    return st.one_of(st.just(""), *known)


def _parsed(target: str, *words: str) -> st.SearchStrategy[Draft]:
    """The rule; without its further words, where they do not go together."""
    said = [word for word in words if word]
    for some in (said, said[:2], said[:1]):
        try:
            return st.just(parse(target, some))
        except RuleError:
            continue
    return st.nothing()
