"""The toolstack's dice: one seed draws the same, another life of the toolstack something else."""

import uuid

from hvsim.toolstack.host.dice import Dice


def test_what_is_drawn_follows_from_the_seed() -> None:
    one, two = Dice(("lab", 7, 1.5)), Dice(("lab", 7, 1.5))
    drawn = [one.uuid() for _ in range(4)]
    assert drawn == [two.uuid() for _ in range(4)]
    assert len(set(drawn)) == 4


def test_another_start_draws_something_else() -> None:
    assert Dice(("lab", 7, 1.5)).draw(40) != Dice(("lab", 7, 1.6)).draw(40)


def test_a_uuid_is_one_of_the_random_kind() -> None:
    found = uuid.UUID(Dice(()).uuid())
    assert found.version == 4
    assert found.variant == uuid.RFC_4122
