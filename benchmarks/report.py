"""One row of the table: our figure, the reference's, the ratio, and the floor it must reach."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 5
"""How often a pair is measured; machines are noisy, so the median of the rounds counts."""


@dataclass(frozen=True)
class Row:
    """A measured row.

    `ratio` is "how good we are, the reference being 1" for rates, so higher is better and `floor`
    is the least it may be.  Rows that are bounded by an absolute figure (time or memory per guest)
    have `ceiling` instead, in the unit of `ours`; rows with neither are told, not judged.
    """

    name: str
    ours: str
    reference: str
    value: float
    floor: float | None = None
    ceiling: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the row is at or above its floor (or at or below its ceiling)."""
        if self.floor is not None:
            return self.value >= self.floor
        return self.ceiling is None or self.value <= self.ceiling

    def cells(self) -> tuple[str, str, str, str, str, str]:
        """The row as text: name, ours, reference, value, bound, verdict."""
        if self.ceiling is not None:
            value, bound = f"{self.value:.1f}", f"<= {self.ceiling:g}"
            verdict = "ok" if self.holds else "ABOVE"
        elif self.floor is not None:
            value, bound = f"{self.value:.2f}x", f">= {self.floor:g}x"
            verdict = "ok" if self.holds else "BELOW"
        else:
            value, bound, verdict = f"{self.value:.2f}x" if self.reference else "", "", ""
        return self.name, self.ours, self.reference, value, bound, verdict


def paired(
    name: str,
    ours: Callable[[], float],
    reference: Callable[[], float],
    *,
    floor: float | None,
    rounds: int = ROUNDS,
    unit: str = "us",
) -> Row:
    """Measure `ours` and `reference` in turn, `rounds` times; both return seconds per operation.

    The ratio is taken pair by pair, so a machine that slows down meanwhile slows both.  Without
    `floor` the row is only told.
    """
    pairs = [(reference(), ours()) for _ in range(rounds)]
    ratio = statistics.median(ref / our for ref, our in pairs)
    return Row(
        name,
        f"{statistics.median(our for _, our in pairs) * 1e6:.1f} {unit}",
        f"{statistics.median(ref for ref, _ in pairs) * 1e6:.1f} {unit}",
        ratio,
        floor=floor,
    )


def absolute(name: str, ours: Callable[[], float], *, rounds: int = ROUNDS) -> Row:
    """Measure `ours` (seconds per operation) where there is no reference; only told."""
    median = statistics.median(ours() for _ in range(rounds))
    return Row(name, f"{median * 1e6:.1f} us", "", median * 1e6)


def table(rows: Sequence[Row]) -> str:
    """The rows as an aligned text table."""
    head = ("what", "hvsim", "reference", "ratio", "bound", "")
    cells = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
