"""What a backend writes into the store about its disk, read as coming from a stranger."""

from __future__ import annotations

from typing import Final

from hvsim.abi.blkif import SECTOR_SIZE
from hvsim.drivers.block.protocol import MAX_SECTORS, Features
from hvsim.names.number import unsigned

PROPERTIES: Final = (
    "sectors", "info", "sector-size", "physical-sector-size", "feature-barrier",
    "feature-flush-cache", "feature-discard", "discard-granularity", "discard-alignment",
    "discard-secure", "feature-persistent", "feature-max-indirect-segments",
)  # fmt: skip
"""Keys of the backend's directory, in the order in which they are read."""


def number(text: str | None, default: int = 0) -> int:
    """A number that a peer wrote; `default` for anything that is none, or is absurdly long."""
    value = unsigned(text, (1 << 64) - 1)
    return default if value is None else value


def parse_features(values: list[str | None]) -> Features | None:
    """The backend's properties, checked; None when they describe no disk."""
    found = dict(zip(PROPERTIES, values, strict=True))
    sectors = number(found["sectors"], -1)
    sector_size = number(found["sector-size"], SECTOR_SIZE)
    if not 0 <= sectors <= MAX_SECTORS or found["info"] is None:
        return None
    if sector_size < SECTOR_SIZE or sector_size > 4096 or sector_size & (sector_size - 1):
        return None
    return Features(
        sectors=sectors,
        sector_size=sector_size,
        physical_sector_size=number(found["physical-sector-size"], sector_size),
        info=number(found["info"]),
        barrier=number(found["feature-barrier"]) != 0,
        flush=number(found["feature-flush-cache"]) != 0,
        discard=number(found["feature-discard"]) != 0,
        discard_granularity=number(found["discard-granularity"]),
        discard_alignment=number(found["discard-alignment"]),
        discard_secure=number(found["discard-secure"]) != 0,
        persistent=number(found["feature-persistent"]) != 0,
        max_indirect_segments=number(found["feature-max-indirect-segments"]),
    )
