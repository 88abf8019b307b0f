"""A row of the table: what it compares, what came out, and whether that is enough.

The ratio of a row says how good we are, the reference being 1: more is better, whatever the unit.
It is taken pair by pair, of runs that followed each other, and the median of the pairs counts; the
*spread* beside it is the middle half of them.

**Verdicts.**  A row with a bound is ``ok``, or ``BELOW`` it (``ABOVE``, for a bound that must not
be passed), or *on the line*: the bound lies within the spread, or the median is within a tenth of
the bound.  Then another run may fall on the other side, and neither would mean anything.  A row on
the line is no failure.  Two runs contradict each other when a row is ok in one and below in the
other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.samples import Sample, Spread, median, spread

BAND = 0.1
"""How near to its bound a median is on the line, of figures that are times or rates."""

OK, ON_THE_LINE, BELOW, ABOVE = "ok", "on the line", "BELOW", "ABOVE"


@dataclass(frozen=True)
class Unit:
    """How figures of SI are shown, and which way is better."""

    name: str
    scale: float
    more_is_better: bool = False

    def text(self, figure: float | None) -> str:
        """A figure with its unit; "" for none."""
        return "" if figure is None else f"{short(figure * self.scale)} {self.name}"


MICROSECONDS = Unit("us", 1e6)
MILLISECONDS = Unit("ms", 1e3)
GBITS = Unit("Gbit/s", 1e-9, more_is_better=True)
KILOPACKETS = Unit("kpps", 1e-3, more_is_better=True)
MIB = Unit("MiB", 2.0**-20)


@dataclass(frozen=True)
class Plan:
    """A row before it is measured.

    Attributes:
        name: what is measured and how; unique in its group, together with `against`.
        against: the reference; "" when the figure is only told.
        floor: the least that the ratio may be.
        ceiling: the most that our own figure may be, in units of `unit`.
        band: how near to the bound, as a part of it, the median is on the line.
    """

    name: str
    against: str = ""
    unit: Unit = MICROSECONDS
    floor: float | None = None
    ceiling: float | None = None
    band: float = BAND

    @property
    def title(self) -> str:
        """The whole name, for whoever picks rows."""
        return f"{self.name}, against {self.against}" if self.against else self.name

    @property
    def bound(self) -> float | None:
        """Whichever there is."""
        return self.ceiling if self.floor is None else self.floor


Pair = tuple[Sample, Sample | None]
"""One run of ours, and one of the reference right beside it."""


@dataclass
class Row:
    """A plan and what came out, pair by pair; or why nothing did."""

    plan: Plan
    pairs: list[Pair] = field(default_factory=list)
    left_out: str = ""

    @property
    def ratios(self) -> list[float]:
        """How good we were in each pair; none without a reference."""
        found = []
        for ours, theirs in self.pairs:
            if theirs is not None and theirs.figure > 0 and ours.figure > 0:
                ratio = theirs.figure / ours.figure
                found.append(1 / ratio if self.plan.unit.more_is_better else ratio)
        return found

    @property
    def judged(self) -> Spread | None:
        """What a bound is about: the ratio, or our own figure in its unit."""
        values = self.ratios
        if not self.plan.against:
            values = [ours.figure * self.plan.unit.scale for ours, _ in self.pairs]
        return spread(values) if values else None

    @property
    def verdict(self) -> str:
        """See the module; "" for a row that is only told."""
        bound, found = self.plan.bound, self.judged
        if bound is None or found is None:
            return ""
        if found.low <= bound <= found.high or abs(found.median - bound) <= self.plan.band * bound:
            return ON_THE_LINE
        if self.plan.floor is not None:
            return OK if found.median > bound else BELOW
        return OK if found.median < bound else ABOVE

    @property
    def fails(self) -> bool:
        """Whether the row is on the wrong side of its bound."""
        return self.verdict in (BELOW, ABOVE)

    # -- as text and data ------------------------------------------------------------------

    def cells(self) -> dict[str, str]:
        """The row by column; columns without anything are left out of the table."""
        plan = self.plan
        ours = [pair[0] for pair in self.pairs]
        theirs = [pair[1] for pair in self.pairs if pair[1] is not None]
        found = self.judged
        return {
            "what": plan.name,
            "hvsim": plan.unit.text(median([one.figure for one in ours])),
            "against": plan.against,
            "its": plan.unit.text(median([one.figure for one in theirs])),
            "ratio": short(found.median) if found is not None and plan.against else "",
            "spread": "" if found is None else f"{short(found.low)}..{short(found.high)}",
            "bound": self._bound(),
            "": self.verdict,
            "p50": _both(ours, theirs, "middle", 1e6, " us"),
            "p99": _both(ours, theirs, "tail", 1e6, " us"),
            "CPU": _both(ours, theirs, "cpu", 1e3, " ms")
            if plan.unit is MILLISECONDS
            else _both(ours, theirs, "cpu", 1e6, " us"),
            "sleeps": _both(ours, theirs, "sleeps", 1.0, ""),
        }

    def _bound(self) -> str:
        plan = self.plan
        if plan.floor is not None:
            return f">= {plan.floor:.3g}"
        return "" if plan.ceiling is None else f"<= {plan.ceiling:g} {plan.unit.name}"

    def data(self, group: str) -> dict[str, Any]:
        """The row for machines; figures in units of SI."""
        found = self.judged
        return {
            "group": group,
            "name": self.plan.name,
            "against": self.plan.against,
            "unit": self.plan.unit.name,
            "scale": self.plan.unit.scale,
            "ours": [vars(ours) for ours, _ in self.pairs],
            "reference": [None if theirs is None else vars(theirs) for _, theirs in self.pairs],
            "judged": None if found is None else vars(found),
            "floor": self.plan.floor,
            "ceiling": self.plan.ceiling,
            "verdict": self.verdict,
            "left_out": self.left_out,
        }


def _both(
    ours: Sequence[Sample], theirs: Sequence[Sample], what: str, scale: float, unit: str
) -> str:
    """Ours and theirs in one cell; "-" for what is not known of one of them."""
    figures = [median([getattr(one, what) for one in side]) for side in (ours, theirs) if side]
    if all(figure is None for figure in figures):
        return ""
    return " / ".join("-" if one is None else short(one * scale) for one in figures) + unit


def short(value: float) -> str:
    """Three digits that count: 0.0012, 0.12, 1.23, 12.3, 123, 12300."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def table(rows: Sequence[Row]) -> str:
    """The rows, aligned, without the columns that all of them leave empty."""
    cells = [row.cells() for row in rows if not row.left_out]
    head = [name for name in (cells[0] if cells else {}) if any(line[name] for line in cells)]
    lines = [head, *([line[name] for name in head] for line in cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def left_out(rows: Sequence[Row]) -> list[str]:
    """What was left out, a line for each reason."""
    reasons: dict[str, list[Row]] = {}
    for row in rows:
        if row.left_out:
            reasons.setdefault(row.left_out, []).append(row)
    return [
        f"left out: {some[0].plan.title}"
        + (f" and {len(some) - 1} more" if len(some) > 1 else "")
        + f": {reason}"
        for reason, some in reasons.items()
    ]
