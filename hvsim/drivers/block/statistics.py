"""Figures of either half of a disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class FrontStatistics:
    """Since the device was made; pieces, not requests, where they differ."""

    submitted: int = 0
    issued: int = 0
    answered: int = 0
    reissued: int = 0
    failed: int = 0
    connections: int = 0
    notifies: int = 0


@dataclass(slots=True)
class BackStatistics:
    """What was done since the device was connected."""

    requests: int = 0
    reads: int = 0
    writes: int = 0
    sectors_read: int = 0
    sectors_written: int = 0
    flushes: int = 0
    discards: int = 0
    errors: int = 0
    unsupported: int = 0
