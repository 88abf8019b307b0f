"""One clock, one way to wait, one dice: who may touch the machine's, and why.

All code of a host reads its time from its vCPU (or is handed a clock), waits there, and draws from
the dice of its lab.  What would go past them is found here by its syntax, whatever name it was
imported under.  Commands and the lab's launcher live in a person's time and are not looked at.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    *("hvsim/abi", "hvsim/devnodes", "hvsim/domain", "hvsim/drivers", "hvsim/hypervisor"),
    *("hvsim/linux", "hvsim/names", "hvsim/native", "hvsim/spawn", "hvsim/toolstack"),
    *("hvsim/wire", "hvsim/xenstore", "hvsim/xs", "domains"),
)
#: The places, and the reason of each.
MAY: dict[str, str] = {
    "hvsim/domain/clock.py": "the TSC of this host, which the time page makes a domain's time of",
    "hvsim/domain/dice.py": "the dice of a domain, from the seed that it was born with",
    "hvsim/domain/vcpu.py": "the place where a domain waits",
    "hvsim/hypervisor/clock.py": "clock and dice that the hypervisor hands to its rules",
    "hvsim/hypervisor/kernel.py": "makes the epoll sets of processes in lockstep",
    "hvsim/hypervisor/lockstep/linux.py": "waits for what Linux does in its own time",
    "hvsim/hypervisor/lockstep/server.py": "hears the notifies of who has the turn, at once",
    "hvsim/hypervisor/lockstep/sets.py": "looks into those sets, at once",
    "hvsim/hypervisor/loop.py": "the hypervisor's one wait",
    "hvsim/hypervisor/spawning.py": "in lockstep, what the spawner says is waited for",
    "hvsim/xs/waits.py": "of blocking clients: commands, outside of the domains",
    "hvsim/domain/loop.py": "an event loop that is made of a vCPU",
    "hvsim/spawn/server.py": "the spawners' one wait, for the hypervisor: they are no vCPUs",
    "hvsim/spawn/warden.py": "a message to the other spawner; whether a parent lives, at once",
    "hvsim/spawn/child.py": "whether its parent lives, at once; there is no vCPU yet",
    "hvsim/spawn/exec_process.py": "before its domain is attached, and when the lab has ended",
    "hvsim/devnodes/node.py": "whether a socket has hung up, at once",
    "hvsim/devnodes/texts.py": "a name in /tmp, which is gone when it is read",
}
_CLOCKS = ("monotonic", "time", "perf_counter", "process_time", "thread_time", "clock_gettime")
#: What of each module reads a clock, waits, draws, or makes a loop that does.  (What waits *on* a
#: loop, as anyio.sleep does, waits on the vCPU: the toolstack's loop is made of one.)
NAMES = {
    "time": {"sleep", *_CLOCKS, *(f"{name}_ns" for name in _CLOCKS)},
    "select": {"select", "poll", "epoll"},
    "selectors": {"DefaultSelector", "EpollSelector", "PollSelector", "SelectSelector"},
    "os": {"urandom", "getrandom"},
    "uuid": {"uuid1", "uuid4"},
    "asyncio": {"run", "Runner", "new_event_loop", "SelectorEventLoop"},
    "anyio": {"run"},
    "datetime": {"now", "utcnow", "today"},
    "signal": {"alarm", "setitimer", "sigtimedwait"},
    "threading": {"Timer"},
    "tempfile": {"mktemp", "mkstemp", "mkdtemp"},
}
#: Modules of which anything is a dice.
DICE = {"random", "secrets"}
#: Methods that make a descriptor wait by itself, whatever they are called on.
METHODS = {"settimeout"}


def _full(node: ast.expr, known: dict[str, str]) -> str:
    """The dotted name of an expression, with the names that imports gave."""
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.Attribute):
        return f"{base}.{node.attr}" if (base := _full(node.value, known)) else ""
    return ""


def _touches(full: str) -> bool:
    module, _, rest = full.partition(".")
    if module in DICE:
        return bool(rest)
    return bool(set(rest.split(".")) & NAMES.get(module, set()))


def uses(source: str) -> Iterator[tuple[int, str]]:
    """Each use of a clock, a wait or a dice of the machine: line and name."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {(a.asname or a.name.partition(".")[0]): a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            inner.add(node.value)
        if isinstance(node, ast.Attribute | ast.Name) and node not in inner:
            full = _full(node, known)
            if _touches(full):
                yield node.lineno, full
            elif isinstance(node, ast.Attribute) and node.attr in METHODS:
                yield node.lineno, f".{node.attr}"


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "from time import sleep as rest\nrest(1)",
        "import time as t\nnow = t.time_ns",
        "import random\nrandom.random()",
        "from random import Random\nRandom()",
        "import os\nos.urandom(4)",
        "from uuid import uuid4\nuuid4()",
        "import select\nselect.epoll()",
        "import asyncio\nasyncio.new_event_loop()",
        "from anyio import run\nrun(print)",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now()",
        "def f(sock):\n    sock.settimeout(1)",
    ],
)
def test_each_way_is_seen(source: str) -> None:
    assert list(uses(source))


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os\nos.read(0, 1)",
        "def f(now):\n    now()",
        "import select\nselect.EPOLLIN",
    ],
)
def test_what_is_handed_in_is_not(source: str) -> None:
    assert not list(uses(source))


@cache
def found() -> dict[str, list[str]]:
    """File -> the uses in it."""
    files = (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))
    seen = {
        file.relative_to(ROOT).as_posix(): [f"line {n}: {name}" for n, name in uses(text)]
        for file in files
        if (text := file.read_text(encoding="utf-8"))
    }
    return {name: lines for name, lines in seen.items() if lines}


def test_only_these_places_touch_them() -> None:
    wrong = {name: lines for name, lines in found().items() if name not in MAY}
    assert not wrong, "\n".join(f"{name}: {'; '.join(lines)}" for name, lines in wrong.items())


def test_no_place_is_listed_for_nothing() -> None:
    assert not set(MAY) - set(found())
