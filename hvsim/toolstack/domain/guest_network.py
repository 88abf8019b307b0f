"""What a guest's own network stack is told at its birth (``args["net"]`` of its program)."""

from hvsim.names import address
from hvsim.toolstack.host.context import Guest


def stack(guest: Guest) -> list[dict[str, object]]:
    """A row for each of its interfaces."""
    gateway = guest.request.args.get("gateway")
    rows: list[dict[str, object]] = []
    for nic in guest.nics.values():
        rows.append(
            {
                "index": nic.device.devid,
                "mac": nic.vif.mac,
                "mtu": nic.vif.mtu,
                "address": [str(address.interface(one)) for one in address.of_spec(nic.vif.ip)],
                "gateway": gateway if not rows else None,
            }
        )
    return rows
