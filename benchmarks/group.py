"""A group of rows: what `python -m benchmarks NAME` measures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.rows import Plan, Row


@dataclass(frozen=True)
class Group:
    """Rows that are measured together, mostly in one lab.

    Attributes:
        title: what they are about, in a line.
        compares: for the reader of the table: what runs on either side, how each waits, what is
            judged, and what is not in the figures.
        plans: the rows, in the order of the table.
        measure: measures some of `plans`; a row that this machine cannot have comes back with a
            reason.  Raises LeftOut when that is all of them.
    """

    name: str
    title: str
    compares: str
    plans: Sequence[Plan]
    measure: Callable[[Sequence[Any]], Sequence[Row]]
