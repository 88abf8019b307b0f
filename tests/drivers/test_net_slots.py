"""How many slots a packet of the TX ring may have, by themselves.

Red with the fault of that name in tests/mutants/devices.py."""

from collections.abc import Callable

import pytest

from hvsim.abi.netif import NETTXF_more_data
from hvsim.drivers.net.protocol import FATAL_SLOTS, MAX_SLOTS, pack_tx_request, take_packet
from hvsim.errors import BrokenByPeer


def packet(slots: int) -> Callable[[], bytes | None]:
    """A packet of so many slots of 64 bytes that add up."""
    first = [pack_tx_request(8, 0, NETTXF_more_data, 1, 64 * slots)]
    rest = [pack_tx_request(8, 0, NETTXF_more_data, 1, 64) for _ in range(slots - 2)]
    raw = iter([*first, *rest, pack_tx_request(8, 0, 0, 1, 64)])
    return lambda: next(raw, None)


def test_so_many_are_served_some_more_refused_and_no_more_forgiven() -> None:
    served, refused = take_packet(packet(MAX_SLOTS)), take_packet(packet(MAX_SLOTS + 1))
    assert served is not None
    assert served.refused is None
    assert refused is not None
    assert refused.refused == "too_many_slots"
    assert take_packet(packet(FATAL_SLOTS)) is not None
    with pytest.raises(BrokenByPeer, match=f"more than {FATAL_SLOTS} slots"):
        take_packet(packet(FATAL_SLOTS + 1))
