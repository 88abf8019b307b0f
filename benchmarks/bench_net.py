"""The network path against the kernel's own, a plain Python pump, and slirp4netns, at MTU 1500.

The same programs run on both sides: iperf3 and ping, in guests by ``hvsim exec``, and in namespaces
that exist for one reference run. Every round measures each of them once, one after the other, so
that a machine that slows down slows all of them.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.net import traffic
from benchmarks.net.spaces import cpu_seconds
from benchmarks.report import Row
from hvsim.lab.load import load
from hvsim.lab.up import Running, bring_up

HERE = Path(__file__).parent
ROUNDS = 3
SECONDS = 2.0
"""How long one stream lasts."""
REFERENCE_TIMEOUT = 60.0
PING_CEILING = 6.0
"""How many round trips of the pump one of ours may take."""


@dataclass
class Runs:
    """What each thing measured came to, round by round; None where it could not be."""

    figures: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, name: str, figure: float | None) -> None:
        """One more round of `name`."""
        self.figures.setdefault(name, []).append(figure)

    def median(self, name: str) -> float | None:
        """Of the rounds that there are."""
        known = [figure for figure in self.figures.get(name, []) if figure is not None]
        return statistics.median(known) if known else None

    def ratio(self, ours: str, reference: str) -> float | None:
        """Median of ours by reference, round by round."""
        pairs = zip(self.figures.get(ours, []), self.figures.get(reference, []), strict=False)
        known = [one / other for one, other in pairs if one is not None and other]
        return statistics.median(known) if known else None


def run() -> Iterator[Row]:
    """The rows of issue "the network path", section "Speed"."""
    for program in ("iperf3", "ping"):
        if shutil.which(program) is None:
            print(f"  no network rows: {program} is not installed", file=sys.stderr)
            return
    running = bring_up(load(HERE / "labs" / "net.toml", name=f"bench-net-{os.getpid()}"))
    try:
        runs = Runs()
        guests = _Guests(running)
        for _ in range(ROUNDS):
            _round(runs, guests)
    finally:
        running.down()
    yield _rates(runs, "TCP, guest to guest, against veth", "guest-guest", "veth", 0.12)
    yield _rates(runs, "TCP, guest to guest, against slirp4netns", "guest-guest", "slirp", 2.0)
    yield _rates(runs, "TCP, guest to guest, against a Python pump", "guest-guest", "pump", None)
    yield _rates(runs, "TCP, guest to driver domain, against veth", "guest-driver", "veth", 0.25)
    yield _rates(runs, "64-byte datagrams one way, against a Python pump", "packets",
                 "pump packets", 0.25, unit="kpps", scale=1e-3)  # fmt: skip
    yield _trips(runs)
    yield _processor_time(runs)


def _round(runs: Runs, guests: "_Guests") -> None:
    for kind in ("veth", "pump", "slirp"):
        found = _reference(kind, "tcp")
        runs.add(kind, found.get("gbits"))
        runs.add(f"{kind} cpu", found.get("cpu_per_gib"))
    guests.streams(runs)
    runs.add("pump packets", _reference("pump", "packets").get("packets_per_second"))
    runs.add("packets", guests.packets())
    runs.add("pump ping", _reference("pump", "ping").get("seconds"))
    runs.add("ping", guests.ping())


class _Guests:
    """The lab's side: two guests, and the driver domain with the bridge between them."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.one, self.two, self.driver = (self._side(name) for name in ("one", "two", "network"))
        self.two_address, self.driver_address = "10.0.0.2", "10.0.0.254"

    def _side(self, name: str) -> list[str]:
        lab = self._running.run.name
        return [sys.executable, "-m", "hvsim.cli", "--lab", lab, "exec", name, "--"]

    def streams(self, runs: Runs) -> None:
        """TCP to the other guest and to the driver domain, and what the first one cost."""
        before = self._cpu()
        flow = traffic.stream(self.one, self.two, self.two_address, SECONDS)
        spent = {name: after - before[name] for name, after in self._cpu().items()}
        runs.add("guest-guest", flow.gbits)
        gib = flow.received / 2**30
        runs.add("front cpu", (spent["one"] + spent["two"]) / gib)
        runs.add("back cpu", spent["network"] / gib)
        flow = traffic.stream(self.one, self.driver, self.driver_address, SECONDS)
        runs.add("guest-driver", flow.gbits)

    def packets(self) -> float:
        """Datagrams per second that arrived at the other guest."""
        flow = traffic.datagrams(self.one, self.two, self.two_address, SECONDS)
        return flow.packets / flow.seconds

    def ping(self) -> float:
        """Seconds per round trip."""
        return traffic.round_trip(self.one, self.two_address)

    def _cpu(self) -> dict[str, float]:
        """Processor time of the domains' own processes, which carry the frames: programs that
        were started in them are others."""
        with self._running.control() as control:
            rows = control.data("ps")["domains"]
        return {
            str(row["name"]): cpu_seconds(int(row["pid"]))
            for row in rows
            if row["name"] in ("one", "two", "network")
        }


def _reference(kind: str, job: str) -> dict[str, float]:
    """One run of a reference in a process of its own; nothing where this machine has none."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.net.reference", kind, job, f"{SECONDS:g}"],
        capture_output=True,
        text=True,
        timeout=REFERENCE_TIMEOUT,
        check=False,
        cwd=HERE.parent,
    )
    if done.returncode:
        raise RuntimeError(f"the reference {kind} {job} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, float | str] = json.loads(done.stdout)
    if "unavailable" in found:
        _say_once(f"  no ratio to {kind}: {found['unavailable']}")
    return {key: value for key, value in found.items() if isinstance(value, float)}


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said:
        _said.add(text)
        print(text, file=sys.stderr)


def _rates(
    runs: Runs,
    name: str,
    ours: str,
    reference: str,
    floor: float | None,
    *,
    unit: str = "Gbit/s",
    scale: float = 1.0,
) -> Row:
    """A row of rates: higher is better."""
    mine, theirs = (_text(runs.median(key), scale, unit) for key in (ours, reference))
    ratio = runs.ratio(ours, reference)
    if ratio is None:
        return Row(f"net: {name}", mine, "", 0.0)
    return Row(f"net: {name}", mine, theirs, ratio, floor=floor)


def _trips(runs: Runs) -> Row:
    """The round trip in round trips of the pump: lower is better."""
    name = "net: ping round trip, in those of a Python pump"
    ours, theirs = (_text(runs.median(key), 1e6, "us") for key in ("ping", "pump ping"))
    ratio = runs.ratio("ping", "pump ping")
    if ratio is None:
        return Row(name, ours, "", 0.0)
    return Row(name, ours, theirs, ratio, ceiling=PING_CEILING)


def _processor_time(runs: Runs) -> Row:
    """Told: what the domains' processes took, the guests' halves and the driver domain's."""
    front, back = (runs.median(key) or 0.0 for key in ("front cpu", "back cpu"))
    pump = runs.median("pump cpu")
    return Row(
        "net: CPU per GiB, both guests + driver domain, against a Python pump",
        f"{front:.2f} + {back:.2f} s",
        f"{pump:.2f} s" if pump else "",
        pump / (front + back) if pump and front + back else 0.0,
    )


def _text(figure: float | None, scale: float, unit: str) -> str:
    return "" if figure is None else f"{figure * scale:.1f} {unit}"
