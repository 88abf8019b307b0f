"""What only hvsim's own store can do, and what is said where the lab has another."""

from __future__ import annotations

from hvsim.errors import HvsimError
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.rundir import RunDir


def needs_our_store(run: RunDir, what: str) -> None:
    """Raises HvsimError when the lab at `run` has a real daemon for its store."""
    if run.store != BUILTIN:
        raise HvsimError(
            f"{what} needs hvsim's own store, and lab {run.name} has {run.store}: "
            'start it with store = "builtin" under [lab]'
        )
