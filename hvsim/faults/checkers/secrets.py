"""What nobody was allowed to read is read by nobody: a guest tells what it was told.  Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hvsim.faults.checkers.verdict import Verdict

_LINE: Final = re.compile(r"secret (\S{1,200}) (kept|told)")


def secret(line: str) -> tuple[str, bool] | None:
    """What a line of a console says of a secret: (which, whether it was told); None for any other
    line."""
    match = _LINE.search(line)
    return (match[1], match[2] == "told") if match else None


def secrets(history: Sequence[tuple[str, bool]]) -> Verdict:
    """Judge the answers that a guest got, which was allowed none of them."""
    judged = f"{len(history)} questions"
    if not history:
        return Verdict(judged, ("nothing was asked: nothing was proven",))
    told = [which for which, was_told in history if was_told]
    problems = (f"{len(told)} of them answered (first: {told[0]})",) if told else ()
    return Verdict(judged, problems)
