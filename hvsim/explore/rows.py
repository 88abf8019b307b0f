"""What a search was, as data: what `hvsim explore --json` prints."""

from typing import Annotated, TypedDict


class FoundRow(TypedDict):
    """The failure that a search has found"""

    check: Annotated[str, "what did not hold"]
    said: Annotated[str, "what it said first"]
    seed: Annotated[int, "of the run"]
    order: Annotated[str, "in which it was found: random, pct, or tape"]
    after: Annotated[int, "how many runs it took to find it"]
    choices: Annotated[int, "choices of the run that was found"]
    tape_before: Annotated[int, "those that were not the first option"]
    tape_after: Annotated[int, "the same, of the least that still fails"]
    acts_before: Annotated[int, "faults and steps of the scenario"]
    acts_after: Annotated[int, "those that the failure needs"]
    shrink_runs: Annotated[int, "runs that were made to shrink it"]
    file: Annotated[str, "the scenario that replays it"]


class ExploreRow(TypedDict):
    """`hvsim explore --json`"""

    scenario: Annotated[str, "its name"]
    runs: Annotated[int, "that were made to find something"]
    seconds: Annotated[float, "that they took"]
    runs_a_minute: Annotated[float, "while nothing was found"]
    late: Annotated[int, "runs that took too long and were ended; nothing is known of them"]
    coverage: Annotated[int, "transitions of the ledger that were seen"]
    found: Annotated[FoundRow | None, "null: nothing"]
