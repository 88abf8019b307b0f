"""Nothing that was acknowledged is lost: commits of a database guest are in its image.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hvsim.faults.checkers.verdict import Verdict

if TYPE_CHECKING:
    from domains.guests.verify import Verdict as Found


def durable(acknowledged: Sequence[int], found: Found, *, orderly: bool) -> Verdict:
    """Judge the image of a database by what its clients were told.

    Args:
        acknowledged: numbers of the commits, in the order of the acknowledgements.
        found: what other software finds in the image.
        orderly: the guest has ended by itself, so that it acknowledged whatever it committed.
    """
    told = sorted(set(acknowledged))
    judged = f"{len(told)} acknowledged commits, {found.batches} in the image"
    problems = []
    if not told:
        problems.append("no commit was acknowledged: nothing was proven")
    lost = found.lost(told)
    if lost:
        problems.append(f"{len(lost)} acknowledged commits are not there (first: {lost[0]})")
    if found.integrity != "ok":
        problems.append(f"the database is damaged: {found.integrity}")
    for name, numbers in (
        ("commits are missing in the middle", found.missing_batches),
        ("commits are torn", found.partial_batches),
        ("rows are missing", found.missing_seqs),
        ("rows are damaged", found.damaged_seqs),
    ):
        if numbers:
            problems.append(f"{len(numbers)} {name} (first: {numbers[0]})")
    if len(told) != len(acknowledged):
        twice = next(n for n in told if list(acknowledged).count(n) > 1)
        problems.append(f"commit {twice} was acknowledged twice")
    most = (told[-1] if told else 0) + (0 if orderly else 1)
    if found.max_batch > most:
        problems.append(f"commit {found.max_batch} is there, and nobody was told of it")
    return Verdict(judged, tuple(problems))
