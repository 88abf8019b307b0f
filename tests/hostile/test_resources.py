"""What a hostile domain gets of memory, and of what the kernel counts for a whole user.

Without a cgroup here: that is the hypervisor's to make (``tests/lab/test_cgroups.py``).
"""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hvsim.abi.memory import PAGE_SIZE
from hvsim.spawn.sandbox import limits
from tests.domain.spawner_harness import Harness
from tests.hostile.programs.hoarder import ATTEMPTS

PAGES = 4096
MIB = 1 << 20
RAM = PAGES * PAGE_SIZE // MIB
GUEST = limits.GUEST_ROOM // MIB
DRIVER = limits.DRIVER_ROOM // MIB
PROGRAM = limits.PROGRAM_ROOM // MIB
BORN = 600
"""MiB of addresses that an interpreter may have at birth, and a smaller program not."""

Bound = int | str
_NEEDLESS: Mapping[str, Bound] = {
    "huge pages": "EPERM",
    "memory files": "EPERM",
    "MiB of System V segments": "EPERM",
    "System V queues": "EPERM",
    "pipes": "EPERM",
    "pairs of sockets": "EPERM",
    "descriptors on their way": "EPERM",
    "MiB in a packet ring": "EPERM",
    "epoll watches": "EPERM",
    "inotify instances": "EPERM",
    "asynchronous requests": "EPERM",
    "locks on the own log": "EPERM",
    "keys": "EPERM",
    "processes": "EPERM",
    "timers": 128,
    "signals that wait": 128,
}
PROFILES: Mapping[str, Mapping[str, Bound]] = {
    "guest": {
        **_NEEDLESS,
        "MiB of private memory": RAM + GUEST,
        "MiB of memory that was made read-only": 2 * RAM + GUEST,
        "MiB of shared memory": 2 * RAM + GUEST,
        "threads": "EAGAIN",
        "descriptors": 1024,
    },
    "driver": {
        **_NEEDLESS,
        "MiB of private memory": RAM + DRIVER,
        "MiB of memory that was made read-only": 2 * RAM + DRIVER + limits.PEERS_ROOM // MIB,
        "MiB of shared memory": 2 * RAM + DRIVER + limits.PEERS_ROOM // MIB,
        "threads": limits.THREADS,
        "descriptors": 16384,
    },
}
_FILES = 4096 if os.geteuid() == 0 else limits.SHARED_FILES
PROGRAMS: Mapping[str, Bound] = {
    "MiB of private memory": 2 * RAM + PROGRAM + BORN,
    "MiB of memory that was made read-only": 2 * RAM + PROGRAM + BORN,
    "MiB of shared memory": 2 * RAM + PROGRAM + BORN,
    "huge pages": "EPERM",
    "memory files": "ENOSYS",
    "MiB of System V segments": "ENOSPC",
    "System V queues": "ENOSYS",
    "pipes": _FILES // 2,
    "pairs of sockets": _FILES // 2,
    "descriptors on their way": _FILES + 253,
    "MiB in a packet ring": "EPERM",
    "inotify instances": 64,
    "asynchronous requests": "ENOSYS",
    "keys": "EPERM",
    "timers": 4096,
    "signals that wait": 4096,
    "processes": limits.PROGRAMS,
    "descriptors": _FILES,
}
NOT_BOUNDED = {"epoll watches", "locks", "locks on the own log", "threads"}
"""For programs without a memory cgroup: shown under WALLS as kernel-memory (or counted with the
processes)."""


@pytest.fixture(scope="module")
def domains() -> Iterator[Harness]:
    entry = "tests.hostile.resources_entry"
    with Harness(f"{entry}:run", warm=("msgpack", entry)) as harness:
        yield harness


@pytest.fixture(scope="module")
def programs() -> Iterator[Harness]:
    entry = "tests.hostile.program_entry"
    with Harness(f"{entry}:run", warm=("msgpack", entry)) as harness:
        yield harness


def hoard(harness: Harness, names: list[str], **more: Any) -> dict[str, Bound]:
    """What a domain of 16 MiB gets."""
    child = harness.spawn("hoarder", pages=PAGES, args={"names": names}, **more)
    found: dict[str, Bound] = child.receive()
    child.conn.close()
    assert harness.receive()[0][0] == "exited"
    return found


def too_much(found: Mapping[str, Bound], bounds: Mapping[str, Bound]) -> list[str]:
    """What is beyond its bound: a number, or the errno that is wanted."""
    return [
        f"{name}: {found.get(name)}, {bound} is the bound"
        for name, bound in bounds.items()
        if found.get(name) != bound
        and not (
            isinstance(bound, int) and isinstance(got := found.get(name), int) and got <= bound
        )
    ]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("net", [False, True], ids=["", "networked"])
def test_a_domain_gets_what_is_its_own(domains: Harness, profile: str, net: bool) -> None:
    bounds = PROFILES[profile]
    found = hoard(domains, list(bounds), profile=profile, net="a stack" if net else "")
    assert too_much(found, bounds) == []


def test_without_the_limits_it_gets_more(domains: Harness) -> None:
    """The negative control: each of these is bounded by limits or seccomp, and by nothing else."""
    held = {*_NEEDLESS, *PROFILES["guest"]} - {"huge pages", "MiB in a packet ring", "processes"}
    found = hoard(domains, sorted(held), without=["limits", "seccomp"], net="a stack")
    bounds = {name: PROFILES["guest"][name] for name in held}
    open_then = {text.partition(":")[0] for text in too_much(found, bounds)}
    assert open_then == held


def test_a_program_gets_a_bounded_number_of_bounded_size(programs: Harness) -> None:
    found = run_program(programs, list(PROGRAMS))
    assert too_much(found, PROGRAMS) == []
    assert set(PROGRAMS) | NOT_BOUNDED == set(ATTEMPTS)


def test_without_the_limits_a_program_gets_more(programs: Harness) -> None:
    """The negative control."""
    held = {"MiB of memory that was made read-only", "timers", "signals that wait", "descriptors"}
    found = run_program(programs, sorted(held), without=["limits"])
    bounds = {name: PROGRAMS[name] for name in held}
    open_then = {text.partition(":")[0] for text in too_much(found, bounds)}
    assert open_then == held


def run_program(harness: Harness, names: list[str], **more: Any) -> dict[str, Bound]:
    words = {"words": names, "script": "hoarder"}
    child = harness.spawn(
        "program", args=words, executables=True, net="a stack", pages=PAGES, **more
    )
    _, said = child.receive()
    child.conn.close()
    assert harness.receive()[0][0] == "exited"
    assert said.startswith("{"), said
    found: dict[str, Bound] = json.loads(said)
    return found
