"""How long a person waits for a command, and a new lab for its first ping."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.group import Group
from benchmarks.lab import LABS, lab, pids
from benchmarks.rounds import in_turn
from benchmarks.rows import MILLISECONDS, Pair, Plan, Row
from benchmarks.samples import Sample

ROUNDS = 7
TIMEOUT = 60.0
PINGER = Path(__file__).parent / "net" / "first_ping.py"
TWO_TIER = Path(__file__).parents[1] / "configs" / "two-tier.toml"
PYTHON = "python -c pass"

COMPARES = f"""\
Wall time of a whole command, from fork to exit.  `ps` and `xl list` ask a lab with two quiet
guests; `up two-tier` ends when the lab is ready (hypervisor, dom0, a storage domain, two guests
with their disks and health checks), and has no reference; the others are compared with
`{PYTHON}` of the same interpreter, which no command in Python can go below.  (Where no bytecode may
be written, PYTHONDONTWRITEBYTECODE, each command compiles its modules anew.)  First ping: when `up`
of a lab with two guests on a bridge has returned, a program is started at once in the network
namespace of one, which pings the other every 10 ms; the figure is the time from the return of `up`
to the first answer, the start of that program included.  Nothing is pinned."""


QUICK = 0.4
"""A listing takes 2.5 times what its interpreter takes for nothing, at most."""


def _command(words: str, floor: float | None = None) -> Plan:
    return Plan(f"hvsim {words}", PYTHON, MILLISECONDS, floor=floor)


HELP, PS, XL = _command("--help", QUICK), _command("ps", QUICK), _command("xl list", QUICK)
VALIDATE = _command("validate two-tier")
UP = Plan("hvsim up two-tier, to ready", unit=MILLISECONDS)
FIRST_PING = Plan("first ping after up", unit=MILLISECONDS)
PLANS = (HELP, PS, XL, VALIDATE, UP, FIRST_PING)


def measure(plans: Sequence[Plan]) -> Sequence[Row]:
    """See `COMPARES`."""
    with lab(LABS / "pair.toml") as running:
        name = running.run.name
        runs: dict[Plan, Callable[[], Sample]] = {
            HELP: lambda: _hvsim("--help"),
            PS: lambda: _hvsim("ps", lab=name),
            XL: lambda: _hvsim("xl", "list", lab=name),
            VALIDATE: lambda: _hvsim("validate", str(TWO_TIER)),
            UP: _two_tier,
            FIRST_PING: _first_ping,
        }

        def pair(plan: Plan) -> Pair:
            theirs = _timed([sys.executable, "-c", "pass"]) if plan.against else None
            return runs[plan](), theirs

        return in_turn(plans, pair, rounds=ROUNDS)


def _timed(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Sample:
    """Run a command.  Raises RuntimeError when it fails."""
    usage = getrusage(RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment
    )
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    after = getrusage(RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return Sample(took, cpu=spent)


def _hvsim(*words: str, lab: str | None = None) -> Sample:
    environment = None if lab is None else {**os.environ, "HVSIM_LAB": lab}
    return _timed([sys.executable, "-m", "hvsim.cli", *words], environment)


def _two_tier() -> Sample:
    name = f"bench-two-tier-{os.getpid()}"
    try:
        return _hvsim("up", "--quiet", "--name", name, str(TWO_TIER))
    finally:
        _hvsim("down", "--now", name)


def _first_ping() -> Sample:
    """Raises RuntimeError when nobody answers."""
    with lab(LABS / "net.toml") as running:
        ready = time.monotonic()
        words = [sys.executable, "-S", str(PINGER), str(pids(running)["one"]), "10.0.0.2"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"first ping: {done.stderr.strip()}")
    return Sample(float(done.stdout) - ready)


GROUP = Group("commands", "what a person waits for", COMPARES, PLANS, measure)
