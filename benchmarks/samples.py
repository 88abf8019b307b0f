"""What one run of a measurement came to, and the statistics of several."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One run, of ours or of a reference.

    Attributes:
        figure: what the row is about, in units of SI: seconds per operation, bits per second.
        cpu: seconds of processor time per operation of all the processes that do the work.
        sleeps: how often one of them went to sleep per operation (voluntary context switches).
        middle, tail: the median and the 99th percentile of how long one operation took, seconds.
    """

    figure: float
    cpu: float | None = None
    sleeps: float | None = None
    middle: float | None = None
    tail: float | None = None


@dataclass(frozen=True)
class Spread:
    """Several runs in three numbers: half of them lie between `low` and `high`."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Quartiles of at least one value (those of few values lie between neighbours)."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high)


def median(values: Sequence[float | None]) -> float | None:
    """Of the values that are known; None when none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
