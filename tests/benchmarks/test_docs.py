"""docs/benchmarks.md names every group of rows and every reference."""

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import GROUPS
from benchmarks.bench_recovery import KILLS

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def sections() -> dict[str, str]:
    """The text below each heading of the third level."""
    parts = re.split(r"^### (.+)$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_group_has_its_section_in_order() -> None:
    assert list(sections()) == list(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_every_reference_is_told_of(name: str) -> None:
    """Red when a reference of a row is taken out of the section."""
    text = sections()[name]
    for reference in {plan.against for plan in GROUPS[name].plans} - {""}:
        assert f"`{reference}`" in text, reference


def test_numbers_that_the_code_has_as_well() -> None:
    assert f"worst of {KILLS}" in sections()["recovery"]
