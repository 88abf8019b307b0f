"""Something of a module or a class is another thing for a while: for faults of one's own.

def stand(fault):
    return swap((Image, "flush", lambda image: fault.told("not flushed")))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def swap(*places: tuple[object, str, Any]) -> Callable[[], None]:
    """Put each (owner, name, value) in place; returns what takes all of them out.

    Raises: AttributeError, and puts nothing in place, when an owner has nothing of that name."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, value in places:
        setattr(owner, name, value)

    def back() -> None:
        for owner, name, value in before:
            setattr(owner, name, value)

    return back
