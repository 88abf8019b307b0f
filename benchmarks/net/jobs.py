"""The jobs of the network rows, the same on both sides."""

from collections.abc import Sequence

from benchmarks.net import traffic
from benchmarks.processes import used

TCP = {"tcp1": 1, "tcp4": 4}
"""Streams of each."""
MIB = 1 << 20


def measured(
    job: str,
    near: traffic.Side,
    far: traffic.Side,
    address: str,
    seconds: float,
    carriers: Sequence[int],
) -> tuple[float, float | None]:
    """(figure, processor time per operation) of one run.

    The figure is bit/s, datagrams/s or seconds per round trip; an operation a MiB, a datagram, a
    round trip.  The time is that of the programs at both ends and of the processes `carriers` (0
    is none), of a ping that of the carriers alone.  Raises TrafficError.
    """
    pids = [pid for pid in carriers if pid]
    with used(pids) as use:
        if job == "ping":
            figure = traffic.round_trip(near, address)
        elif job == "packets":
            flow = traffic.datagrams(near, far, address, seconds)
        else:
            flow = traffic.stream(near, far, address, seconds, TCP[job])
    if job == "ping":
        return figure, use.cpu / traffic.PINGS if pids else None
    if job == "packets":
        return flow.packets / flow.seconds, (flow.cpu + use.cpu) / max(1, flow.packets)
    return flow.received * 8 / flow.seconds, (flow.cpu + use.cpu) * MIB / max(1, flow.received)
