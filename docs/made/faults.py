"""Every fault that a rule can have, from the catalogue."""

from docs.made.text import code, page, table
from hvsim.faults.catalogue import FAMILIES, WHEN, Family, Word
from hvsim.faults.forms import SHOWN
from hvsim.faults.targets import SHOWN as TARGETS


def faults() -> str:
    """The page of faults."""
    parts = []
    for family in FAMILIES:
        parts += [f"## {family.name}", _about(family), _words("fault", family.faults)]
        if family.settings:
            parts.append(_words("further word", family.settings))
    return page(
        "Faults",
        "What `hvsim fault add TARGET KEY=VALUE ...` and `[[fault]]` of a lab file can break; "
        "`hvsim fault list --available` prints the same. A rule is of one family.",
        "## Words of every rule",
        _words("word", WHEN),
        *parts,
    )


def _about(family: Family) -> str:
    targets = " or ".join(TARGETS[one] for one in family.targets)
    types = f" ({', '.join(family.types)})" if family.types else ""
    only = "" if family.events else " Of the words of every rule it takes `for` and `seed` only."
    return f"Of {targets}{types}.{only}"


def _words(head: str, words: tuple[Word, ...]) -> str:
    return table((head, "what happens"), [(code(_shown(word)), word.text) for word in words])


def _shown(word: Word) -> str:
    return word.key if not word.form else f"{word.key}={SHOWN.get(word.form, word.form)}"
