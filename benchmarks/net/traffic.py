"""What is run on both sides: real programs, started by words in front of their command line.

A side is those words: nothing for this namespace, ``nsenter ...`` for a far end, ``hvsim exec
GUEST --`` for a guest of a lab.
"""

import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Side = Sequence[str]

SERVER_PATIENCE = 15.0
"""Seconds until a server answers."""
PINGS = 200
RUN_TIMEOUT = 60.0
"""Seconds that one measurement may take."""


class TrafficError(Exception):
    """A program of the benchmark failed; says which and what it said."""


@dataclass(frozen=True)
class Flow:
    """What a stream of data came to.

    Attributes:
        seconds: how long it took.
        received: bytes of payload that arrived.
        packets: datagrams that arrived (UDP).
        cpu: processor time of the programs at both ends, seconds.
    """

    seconds: float
    received: int
    packets: int = 0
    cpu: float = 0.0


def stream(near: Side, far: Side, address: str, seconds: float, streams: int = 1) -> Flow:
    """TCP by iperf3, `near` sends to `far` at `address`."""
    end = _iperf(near, far, address, ["-t", _whole(seconds), "-P", str(streams)])["end"]
    got = end["sum_received"]
    return Flow(float(got["seconds"]), int(got["bytes"]), cpu=_cpu(end, float(got["seconds"])))


def datagrams(near: Side, far: Side, address: str, seconds: float, size: int = 64) -> Flow:
    """UDP by iperf3, as fast as it goes, `size` bytes of payload each; what arrived."""
    words = ["-u", "-b", "0", "-l", str(size), "-t", _whole(seconds)]
    end = _iperf(near, far, address, words)["end"]
    got = end["sum"]
    took = float(got["seconds"])
    arrived = int(got["packets"]) - int(got["lost_packets"])
    return Flow(took, arrived * size, arrived, cpu=_cpu(end, took))


def _cpu(end: dict[str, Any], seconds: float) -> float:
    """Both ends' processor time: iperf3 gives it in per cent of the run."""
    share = end["cpu_utilization_percent"]
    return (float(share["host_total"]) + float(share["remote_total"])) / 100 * seconds


def round_trip(near: Side, address: str, count: int = PINGS) -> float:
    """Mean of ping, seconds per round trip; two are thrown away first (ARP)."""
    _run([*near, "ping", "-c", "2", "-i", "0.05", "-q", address])
    said = _run([*near, "ping", "-c", str(count), "-i", "0.005", "-q", address])
    match = re.search(r"= [\d.]+/([\d.]+)/", said)
    if match is None:
        raise TrafficError(f"ping {address} said: {said.strip()}")
    return float(match[1]) / 1e3


def _whole(seconds: float) -> str:
    """As iperf3 takes it: it reads 0.5 as 0, and that as "for ever"."""
    return str(max(1, round(seconds)))


def _iperf(near: Side, far: Side, address: str, words: Sequence[str]) -> dict[str, Any]:
    """One client against a server that serves one client."""
    server = subprocess.Popen(
        [*far, "iperf3", "-s", "-1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        command = [*near, "iperf3", "-c", address, "-J", *words]
        deadline = time.monotonic() + SERVER_PATIENCE
        while True:
            found = json.loads(_run(command, check=False))
            if "error" not in found:
                return dict(found)
            if "refused" not in found["error"] or time.monotonic() > deadline:
                raise TrafficError(f"{' '.join(command)}: {found['error']}")
            time.sleep(0.1)
    finally:
        try:
            server.wait(5.0)
        except subprocess.TimeoutExpired:
            server.terminate()
            server.wait()
        if server.stderr is not None:
            server.stderr.close()


def _run(command: Sequence[str], check: bool = True) -> str:
    done = subprocess.run(
        list(command), capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False
    )
    if check and done.returncode:
        raise TrafficError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    if not done.stdout:
        raise TrafficError(f"{' '.join(command)}: {done.stderr.strip() or 'said nothing'}")
    return done.stdout
