"""What a guest's own network stack is told at its birth (``args["net"]`` of its program)."""

from hvsim.toolstack.context import Guest


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
                "address": addresses(nic.vif.ip),
                "gateway": gateway if not rows else None,
            }
        )
    return rows


def addresses(ip: str | None) -> list[str]:
    """Every address of ``ip=``, with the length of its prefix: /24 or /64 when it has none."""
    return [
        one if "/" in one else f"{one}/{64 if ':' in one else 24}" for one in (ip or "").split()
    ]
