"""The network path against the kernel's own and against processes between two TAPs, MTU 1500."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.group import Group
from benchmarks.lab import LABS, lab, pids
from benchmarks.needs import LeftOut, program
from benchmarks.net import traffic
from benchmarks.net.jobs import measured
from benchmarks.programs import compiled
from benchmarks.rounds import Once, in_turn
from benchmarks.rows import GBITS, KILOPACKETS, MICROSECONDS, Pair, Plan, Row, Unit
from benchmarks.samples import Sample
from hvsim.lab.up import Running

SECONDS = 1.0
"""How long one stream lasts: iperf3 takes whole ones."""
REFERENCE_TIMEOUT = 120.0
C_PUMP, PYTHON_PUMP, SLIRP, VETH = "c-pump", "python-pump", "slirp4netns", "veth"

COMPARES = """\
iperf3 and ping in two guests (hvsim exec) whose vifs are on a bridge in a driver domain, against
the same programs in two network namespaces: over a veth pair, which is the kernel alone; over two
TAPs with benchmarks/c/tappump.c between them, which sleeps in read(2) with a thread for each way
(for a ping in epoll_wait, with one for both: there the better of the two); over the same with a
plain Python process; over slirp4netns with our MTU of 1500 (its users may give it up to 65520).
All but slirp4netns carry large segments and open checksums (vnet headers).  Nothing is pinned, and
hvsim's halves sleep in epoll_wait.  Datagrams have 64 bytes of payload, and those that arrived
count.  CPU: of the programs at both ends and of the processes between them, per MiB or per
datagram; of a ping only of the processes between.  Not in the figures: a wire."""


@dataclass(frozen=True)
class NetPlan(Plan):
    """`job` is that of benchmarks/net/jobs.py; `to` the domain that it goes to."""

    job: str = "tcp1"
    to: str = "two"


def _plan(
    name: str, unit: Unit, against: str, floor: float | None, job: str, to: str = "two"
) -> NetPlan:
    return NetPlan(name, against, unit, floor, job=job, to=to)


PLANS = (
    _plan("TCP, guest to guest, 1 stream", GBITS, VETH, 0.12, "tcp1"),
    _plan("TCP, guest to guest, 1 stream", GBITS, C_PUMP, None, "tcp1"),
    _plan("TCP, guest to guest, 1 stream", GBITS, PYTHON_PUMP, None, "tcp1"),
    _plan("TCP, guest to guest, 1 stream", GBITS, SLIRP, 2.0, "tcp1"),
    _plan("TCP, guest to guest, 4 streams", GBITS, VETH, None, "tcp4"),
    _plan("TCP, guest to guest, 4 streams", GBITS, C_PUMP, None, "tcp4"),
    _plan("TCP, guest to driver domain, 1 stream", GBITS, VETH, 0.25, "tcp1", "network"),
    _plan("64-byte datagrams, guest to guest", KILOPACKETS, VETH, None, "packets"),
    _plan("64-byte datagrams, guest to guest", KILOPACKETS, C_PUMP, None, "packets"),
    _plan("64-byte datagrams, guest to guest", KILOPACKETS, PYTHON_PUMP, 0.25, "packets"),
    _plan("ping round trip, guest to guest", MICROSECONDS, VETH, None, "ping"),
    _plan("ping round trip, guest to guest", MICROSECONDS, C_PUMP, None, "ping"),
    _plan("ping round trip, guest to guest", MICROSECONDS, PYTHON_PUMP, 1 / 6, "ping"),
)
ADDRESSES = {"two": "10.0.0.2", "network": "10.0.0.254"}


def measure(plans: Sequence[NetPlan]) -> Sequence[Row]:
    """See `COMPARES`."""
    for name in ("iperf3", "ping", "nsenter"):
        program(name)
    jobs = {kind: {plan.job for plan in plans if plan.against == kind} for kind in REFERENCES}
    with lab(LABS / "net.toml") as running:
        guests = _Guests(running)
        once = Once()

        def pair(plan: NetPlan) -> Pair:
            once.begin(plan)
            theirs = once.get(plan.against, lambda: _reference(plan.against, jobs[plan.against]))
            key = f"{plan.job} {plan.to}"
            return once.get(key, lambda: guests.run(plan.job, plan.to)), theirs[plan.job]

        return in_turn(plans, pair)


REFERENCES = (VETH, C_PUMP, PYTHON_PUMP, SLIRP)


class _Guests:
    """The lab's side: two guests, and the driver domain with the bridge between them."""

    def __init__(self, running: Running) -> None:
        self._lab = running.run.name
        known = pids(running)
        self._carriers = {name: known[name] for name in ("one", "two", "network")}

    def run(self, job: str, to: str) -> Sample:
        """From guest one to `to`."""
        names = {"one", to, "network"}
        carriers = [pid for name, pid in self._carriers.items() if name in names]
        found = measured(job, self._side("one"), self._side(to), ADDRESSES[to], SECONDS, carriers)
        return Sample(found[0], cpu=found[1])

    def _side(self, name: str) -> traffic.Side:
        return [sys.executable, "-m", "hvsim.cli", "--lab", self._lab, "exec", name, "--"]


def _reference(kind: str, jobs: set[str]) -> dict[str, Sample]:
    """All jobs of a reference in a process of its own.  Raises LeftOut, RuntimeError."""
    environment = dict(os.environ)
    if kind == C_PUMP:
        environment["HVSIM_BENCH_PUMP"] = compiled("tappump")
    if kind == SLIRP:
        program(SLIRP)
    words = [sys.executable, "-m", "benchmarks.net.reference", kind, f"{SECONDS:g}", *sorted(jobs)]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=REFERENCE_TIMEOUT,
        check=False,
        cwd=Path(__file__).parents[1],
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"the reference {kind} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if "unavailable" in found:
        raise LeftOut(found["unavailable"])
    return {job: Sample(figure, cpu=cpu) for job, (figure, cpu) in found.items()}


GROUP = Group("net", "the network of guests", COMPARES, PLANS, measure)
