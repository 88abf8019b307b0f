"""The states of a device's halves, as people read them."""

from hvsim.abi.xenbus import XenbusState


def state_name(value: str | None) -> str:
    """The name of an XenbusState as it stands in the store: "4" -> "Connected"."""
    if value is None:
        return "absent"
    try:
        return XenbusState(int(value)).name
    except ValueError:
        return f"state {value!r}"
