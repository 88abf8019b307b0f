"""Xenbus: the states of a device's two halves (xen/io/xenbus.h, xen/io/protocols.h)."""

from enum import IntEnum
from typing import Final


class XenbusState(IntEnum):
    """What a half writes as decimal digits into its node ``state``."""

    Unknown = 0
    """No state has been written, or the node is gone."""
    Initialising = 1
    InitWait = 2
    """Backend: initialised, waits for the frontend's details or for hotplug."""
    Initialised = 3
    """Frontend: details written. Backend: waits for the other half to connect."""
    Connected = 4
    Closing = 5
    """Being closed because of an error or an unplug."""
    Closed = 6
    Reconfiguring = 7
    Reconfigured = 8


XEN_IO_PROTO_ABI_X86_32: Final = "x86_32-abi"
XEN_IO_PROTO_ABI_X86_64: Final = "x86_64-abi"
XEN_IO_PROTO_ABI_ARM: Final = "arm-abi"
XEN_IO_PROTO_ABI_NATIVE: Final = XEN_IO_PROTO_ABI_X86_64
"""What the node ``protocol`` of every frontend here says."""
