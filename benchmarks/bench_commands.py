"""How long a person waits for a command, and a new lab for its first ping."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.group import Group
from benchmarks.lab import LABS, lab, pids
from benchmarks.needs import LeftOut, program
from benchmarks.rounds import in_turn
from benchmarks.rows import MILLISECONDS, Pair, Plan, Row
from benchmarks.samples import Sample

ROUNDS = 7
TIMEOUT = 60.0
INTERVAL = 0.01
"""Seconds between two pings of the row about the first."""
TWO_TIER = Path(__file__).parents[1] / "configs" / "two-tier.toml"
PYTHON = "python -c pass"

COMPARES = f"""\
Wall time of a whole command, from fork to exit.  `ps` and `xl list` ask a lab with two quiet
guests; `up two-tier` ends when the lab is ready (hypervisor, dom0, a storage domain, two guests
with their disks and health checks), and has no reference; the others are compared with
`{PYTHON}` of the same interpreter, which no command in Python can go below.  First ping: when `up`
of a lab with two guests on a bridge has returned, ping is started at once in the network namespace
of one (nsenter) every {INTERVAL * 1e3:g} ms; the figure is the time until the first answer of the
other, the resolution of its address included, ping's own start left out.  Nothing is pinned."""


def _command(name: str) -> Plan:
    return Plan(name, PYTHON, MILLISECONDS)


HELP, PS, XL = (_command(f"hvsim {words}") for words in ("--help", "ps", "xl list"))
UP = Plan("hvsim up two-tier, to ready", unit=MILLISECONDS)
FIRST_PING = Plan("first ping after up", unit=MILLISECONDS)
PLANS = (HELP, PS, XL, UP, FIRST_PING)


def measure(plans: Sequence[Plan]) -> Sequence[Row]:
    """See `COMPARES`."""
    with lab(LABS / "pair.toml") as running:
        name = running.run.name
        runs: dict[Plan, Callable[[], Sample]] = {
            HELP: lambda: _hvsim("--help"),
            PS: lambda: _hvsim("--lab", name, "ps"),
            XL: lambda: _hvsim("--lab", name, "xl", "list"),
            UP: _two_tier,
            FIRST_PING: _first_ping,
        }

        def pair(plan: Plan) -> Pair:
            theirs = _timed([sys.executable, "-c", "pass"]) if plan.against else None
            return runs[plan](), theirs

        return in_turn(plans, pair, rounds=ROUNDS)


def _timed(words: Sequence[str]) -> Sample:
    """Run a command.  Raises RuntimeError when it fails."""
    usage = getrusage(RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    took = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    after = getrusage(RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return Sample(took, cpu=spent)


def _hvsim(*words: str) -> Sample:
    return _timed([sys.executable, "-m", "hvsim.cli", *words])


def _two_tier() -> Sample:
    name = f"bench-two-tier-{os.getpid()}"
    try:
        return _hvsim("up", "--quiet", "--name", name, str(TWO_TIER))
    finally:
        _hvsim("down", "--now", name)


def _first_ping() -> Sample:
    """Raises LeftOut without ping, RuntimeError when nothing answers."""
    ping, nsenter = program("ping"), program("nsenter")
    with lab(LABS / "net.toml") as running:
        target = str(pids(running)["one"])
        enter = [nsenter, "--net", "--target", target]
        if os.geteuid():
            enter[1:1] = ["--user", "--preserve-credentials"]
        words = [ping, "-n", "-c", "200", "-i", f"{INTERVAL:g}", "-W", "5", "10.0.0.2"]
        with subprocess.Popen(
            [*enter, "--", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as pinging:
            assert pinging.stdout is not None
            said = ""
            for said in pinging.stdout:
                answer = re.search(r"icmp_seq=(\d+) .*time=([\d.]+) ms", said)
                if answer:
                    pinging.terminate()
                    waited = (int(answer[1]) - 1) * INTERVAL + float(answer[2]) * 1e-3
                    return Sample(waited)
            if "ermitted" in (why := pinging.communicate()[1]):
                raise LeftOut(f"nsenter is refused: {why.strip()}")
    raise RuntimeError(f"no ping was answered: {said.strip() or why.strip()}")


GROUP = Group("commands", "what a person waits for", COMPARES, PLANS, measure)
