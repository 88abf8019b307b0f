"""Every fault of the catalogue is in a rule of some test.

Red with a fault of which there is none: two had been, by their names.
"""

from __future__ import annotations

from pathlib import Path

from hvsim.faults.catalogue import FAMILIES, Word

HERE = Path(__file__).resolve().parent
PURE = ("test_every_fault.py", "test_grammar.py", "test_targets.py", "test_interfaces.py")
"""Where rules are read and nothing is broken."""


def test_every_fault_has_a_test() -> None:
    files = [*HERE.glob("test_*.py"), HERE.parent / "hypervisor" / "test_process_faults.py"]
    text = "".join(one.read_text(encoding="utf-8") for one in files if one.name not in PURE)
    words = [word for family in FAMILIES for word in family.faults]
    assert [word.key for word in words if not any(form in text for form in forms(word))] == []


def forms(word: Word) -> tuple[str, ...]:
    """As it stands in a rule of a test: in words, or in settings."""
    key, _, value = word.key.partition("=")
    return (f'"{word.key}=',) if word.form else (f'"{word.key}"', f'"{key}": "{value}"')
