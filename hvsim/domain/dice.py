"""The dice of a domain: what it draws follows from the seed of its lab.

Each process has a seed of its own, told at birth (``start_info``), so that what one draws does not
depend on what others have drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    Dice = random.Random


def seeded(seed: int) -> Dice:
    """Dice that give the same for the same *seed*."""
    # Here, since it registers something for every fork, and few domains draw anything.
    from random import Random

    return Random(seed)
