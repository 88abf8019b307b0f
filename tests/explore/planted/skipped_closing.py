"""A handshake that skips Closing: a frontend with nothing on its way lets go at once and says
Closed, while the backend still has all that it was given."""

from __future__ import annotations

from collections.abc import Callable

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.injection import Fault
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.protocol import BlockClosed
from hvsim.faults.inject.swap import swap


def plant(_fault: Fault) -> Callable[[], None]:
    """In a guest."""
    close = BlockFront.close

    def at_once(front: BlockFront) -> None:
        device, disk = front._the_device, front.disk
        if device.state != XenbusState.Connected or disk.statistics()["unanswered"]:
            close(front)
            return
        disk.disconnect()
        disk.bury(BlockClosed, "the device was closed")
        device.switch_state(XenbusState.Closed)

    return swap((BlockFront, "close", at_once))
