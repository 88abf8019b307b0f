"""What a backend says of its disk, and a frontend of its ring: the bounds of what is believed.

Each is red with the fault of its name in tests/mutants/devices.py.
"""

import pytest

from hvsim.drivers.block.features import PROPERTIES, parse_features, ring_keys
from hvsim.drivers.block.protocol import MAX_RING_PAGE_ORDER, MAX_SECTORS, Features
from hvsim.drivers.split.handshake import RingRefused

DISK = {"sectors": "2048", "info": "0", "sector-size": "512"}


def features(**said: str) -> Features | None:
    found = {**DISK, **{key.replace("_", "-"): value for key, value in said.items()}}
    return parse_features([found.get(key) for key in PROPERTIES])


@pytest.mark.parametrize("size", ["0", "1", "256", "511", "513", "768", "4097", "8192", "-512"])
def test_sectors_of_a_size_that_cannot_be(size: str) -> None:
    found = features(sector_size=size)
    assert found is None or (size == "-512" and found.sector_size == 512), "no number: the default"


@pytest.mark.parametrize("size", ["512", "1024", "2048", "4096"])
def test_sectors_of_a_size_that_can_be(size: str) -> None:
    found = features(sector_size=size)
    assert found is not None
    assert found.sector_size == int(size)


def test_the_largest_disk() -> None:
    largest = features(sectors=str(MAX_SECTORS))
    assert largest is not None
    assert largest.sectors == MAX_SECTORS
    assert features(sectors=str(MAX_SECTORS + 1)) is None


def test_the_largest_ring() -> None:
    keys = {"event-channel": "3", **{f"ring-ref{n}": str(8 + n) for n in range(64)}}
    keys["ring-page-order"] = str(MAX_RING_PAGE_ORDER)
    assert len(ring_keys(keys.get, "front").refs) == 1 << MAX_RING_PAGE_ORDER
    keys["ring-page-order"] = str(MAX_RING_PAGE_ORDER + 1)
    with pytest.raises(RingRefused):
        ring_keys(keys.get, "front")
