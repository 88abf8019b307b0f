"""Waiting in tests: with an end, and a word of what was waited for."""

import time
from collections.abc import Callable

LIMIT = 60.0
"""Seconds, far more than anything takes on a machine that works."""


def wait(condition: Callable[[], object], what: str, limit: float = LIMIT) -> None:
    """Wait until *condition* holds, at most *limit* seconds; fails with *what* then."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit:g} s for {what}"
        time.sleep(0.01)
