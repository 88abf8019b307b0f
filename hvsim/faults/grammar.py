"""A rule as people write it, on the command line, in a file, in Python: words about a target.

    db-primary/xvda answer=never after=100
    "network <-> web-frontend" drop=2% delay=5ms..20ms
    storage media=eio op=write sector=2048..4096 times=3

A rule is of one family (`catalogue`); its words say what breaks, and when.  Pure: who is meant by
the target is `targets`' business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from hvsim.errors import HvsimError
from hvsim.faults import forms
from hvsim.faults.catalogue import FAMILIES, WHEN, Family, Word
from hvsim.printable import echoed
from hvsim.wire.fault import When

WORDS_MAX: Final = 24


class RuleError(HvsimError):
    """A rule that cannot be followed; the text names the word and what may stand there."""


@dataclass(frozen=True)
class Draft:
    """A rule whose target is not looked up yet.

    Attributes:
        target, text: as written.
        family: of its faults.
        settings: what it breaks, and how.
        when: on which events.
        seconds: how long it stands; 0 for as long as nobody takes it away.
        seed: of its dice; None: it follows from the lab's and the words.
    """

    target: str
    text: str
    family: Family
    settings: dict[str, forms.Value] = field(default_factory=dict)
    when: When = field(default_factory=When)
    seconds: float = 0.0
    seed: int | None = None


def parse(target: str, words: Sequence[str]) -> Draft:
    """The rule that *words* are about *target*.  Raises: RuleError."""
    if not words:
        raise RuleError(f"{target}: what is to be broken? `hvsim fault list --available` tells")
    if len(words) > WORDS_MAX:
        raise RuleError(f"{target}: a rule has {WORDS_MAX} words at most")
    said: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise RuleError(f"{echoed(word)}: a word is KEY=VALUE, such as media=eio")
        if key in said:
            raise RuleError(f"{echoed(key)} is said twice")
        said[key] = value
    family = _family(said)
    text = " ".join((_quoted(target), *words))
    settings = {}
    for word_known in (*family.faults, *family.settings):
        key, _, choice = word_known.key.partition("=")
        if key in said and not choice:
            settings[key] = _value(word_known, said[key])
        elif key in said and said[key] == choice:
            settings[key] = choice
    when = {word.key: _value(word, said[word.key]) for word in WHEN if word.key in said}
    chooses = [key for key in when if key not in ("for", "seed")]
    if chooses and not family.events:
        raise RuleError(
            f"{chooses[0]}: a fault of {family.name} is there as long as its rule, and has no "
            "events to choose among; for=TIME says for how long"
        )
    unknown = [key for key in said if key not in settings and key not in when]
    if unknown:
        raise RuleError(_stray(unknown[0], said, family))
    idle = [word for word in family.settings if word.key in settings and not _says(word, said)]
    if idle:
        raise RuleError(f"{idle[0].key}: says nothing but of {' and '.join(idle[0].of)}")
    missing = [key for key in family.needs if key not in settings]
    if missing:
        raise RuleError(f"{text}: {missing[0]}= is wanted as well")
    return Draft(target, text, family, settings, _when(when, family), _seconds(when), _seed(when))


def _says(word: Word, said: Mapping[str, str]) -> bool:
    """Whether a setting says more of a fault that is said."""
    return not word.of or any(f"{key}={value}" in word.of for key, value in said.items())


def of_table(table: Mapping[str, object]) -> Draft:
    """The rule that a table of a TOML file is: ``target``, and the words as keys.

    A key with a dot may be a table in a table.  Raises: RuleError.
    """
    target = table.get("target")
    if not isinstance(target, str) or not target:
        raise RuleError('a fault needs its target = "..."')
    words = [word for key, value in table.items() if key != "target" for word in _flat(key, value)]
    return parse(target, words)


def _flat(key: str, value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [word for inner, one in value.items() for word in _flat(f"{key}.{inner}", one)]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RuleError(f"{key}: a text or a number is wanted")
    text = str(value)
    if isinstance(value, float) and "e" in text:  # 0.00001 is 1e-05
        text = format(Decimal(text), "f")
    return [f"{key}={text}"]


def _quoted(target: str) -> str:
    return f'"{target}"' if " " in target else target


def _family(said: Mapping[str, str]) -> Family:
    """Whose words there are faults of."""
    found = [
        family
        for family in FAMILIES
        if any(word.key.partition("=")[0] in said for word in family.faults)
    ]
    if len(found) > 1:  # one word may be a fault of one and a setting of another
        found = [family for family in found if said.keys() <= _keys(family)] or found
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(family.name for family in found)
        raise RuleError(f"one rule cannot be about {names}: make a rule of each")
    known = sorted({word.key.partition("=")[0] for family in FAMILIES for word in family.faults})
    from hvsim.lab.near_miss import nearest  # reads xl's keys, for who is wrong alone

    near = next(filter(None, (nearest(key, known) for key in said)), None)
    remedy = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
    raise RuleError(
        f"{', '.join(said)}: no word says what is to be broken; {remedy} "
        "(`hvsim fault list --available`)"
    )


def _keys(family: Family) -> set[str]:
    """Of all words that may stand in a rule of it."""
    words = (*family.faults, *family.settings, *WHEN)
    return {word.key.partition("=")[0] for word in words}


def _value(word: Word, text: str) -> forms.Value:
    try:
        return forms.read(word.form, text)
    except forms.FormError as wrong:
        raise RuleError(f"{word.key}: {wrong}") from None


def _stray(key: str, said: Mapping[str, str], family: Family) -> str:
    choices = [
        word.key.partition("=")[2] for word in family.faults if word.key.startswith(f"{key}=")
    ]
    if choices:
        return f"{key}: {echoed(said[key])} is none of {', '.join(choices)}"
    known = [word.key.partition("=")[0] for word in (*family.faults, *family.settings, *WHEN)]
    return (
        f"{echoed(key)} is no word of a fault of {family.name}: {', '.join(dict.fromkeys(known))}"
    )


def _when(when: Mapping[str, forms.Value], family: Family) -> When:
    nth, after, every, times = (when.get(key) for key in ("nth", "after", "every", "times"))
    chance = when.get("chance")
    if nth is not None and (after is not None or every is not None or times is not None):
        raise RuleError("nth: not together with after, every or times")
    if times is None and family.once:
        times = 1
    return When(
        after=int(str(nth)) - 1 if nth is not None else int(str(after or 0)),
        every=int(str(every or 1)),
        times=1 if nth is not None else int(str(times or 0)),
        chance=float(str(chance)) if chance is not None else 1.0,
    )


def _seconds(when: Mapping[str, forms.Value]) -> float:
    return float(str(when.get("for") or 0.0))


def _seed(when: Mapping[str, forms.Value]) -> int | None:
    seed = when.get("seed")
    return None if seed is None else int(str(seed))
