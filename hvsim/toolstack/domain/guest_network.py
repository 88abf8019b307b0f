"""What a guest's own network stack is told at its birth (``args["net"]`` of its program)."""

from hvsim.names import address
from hvsim.toolstack.devices.vif.type import INTERFACES, of
from hvsim.toolstack.host.guest import Guest


def stack(guest: Guest) -> list[dict[str, object]]:
    """A row for each of its interfaces."""
    gateway = guest.request.args.get("gateway")
    rows: list[dict[str, object]] = []
    for nic in guest.of(INTERFACES.kind).values():
        vif = of(nic)
        rows.append(
            {
                "index": nic.device.devid,
                "mac": vif.mac,
                "mtu": vif.mtu,
                "address": [str(address.interface(one)) for one in address.of_spec(vif.ip)],
                "gateway": gateway if not rows else None,
            }
        )
    return rows
