"""Labs of the test's own process, and commands that see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.labs import Commands, commands


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """Commands in a run directory that is this process's too: nothing may be left in it."""
    with commands() as made:
        monkeypatch.setenv("HVSIM_RUN_DIR", str(made.base))
        yield made
