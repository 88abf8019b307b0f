"""What is told of a domain while its toolstack does not answer, from what that has written down."""

from __future__ import annotations

import pytest

from hvsim.observe.bystanders import _about


def test_how_often_a_domain_has_died_of_itself_is_noted() -> None:
    """Red when nobody looks into the note: a doctor did not tell of a domain that dies again and
    again once the toolstack stood still."""
    note = {"request": {}, "lives": {"count": 9, "deaths": [1.0, 50.0, 60.0]}}
    about = _about(note, 100.0)
    assert (about.restarts, about.deaths) == (9, 2)


@pytest.mark.parametrize("lives", [None, {}, {"count": "9"}])
def test_a_note_without_lives_tells_of_none(lives: object) -> None:
    about = _about({"request": None, "lives": lives}, 100.0)
    assert (about.restarts, about.deaths) == (0, 0)
