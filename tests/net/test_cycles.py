"""Interfaces that come and go by the hundred leave nothing behind.

Red when netback keeps its port open in ``removed`` (links and descriptors), when netfront does not
bury its pages in ``_disconnect`` (grants and extents), or when a directory is not removed (nodes).
"""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.labs import Commands, commands

LAB = """
[lab]
name = "cycles"
[[domain]]
name = "network"
memory = 64
role = "driver"
program = "domains.network:main"
[[domain]]
name = "guest"
memory = 64
program = "domains.guests.idle:main"
vif = ["bridge=xenbr0,ip=10.9.0.2/24,backend=network"]
"""
LIMIT = 60.0


def descriptors(pid: int) -> list[str]:
    """What a process holds, by kind."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0].split("[")[0])
        except OSError:
            continue
    return sorted(found)


def left(made: Commands) -> dict[str, Any]:
    """All that an interface could leave: store nodes, links of both, descriptors of everybody."""
    nodes = made.ok("xenstore", "ls", "-f", "/").splitlines()
    paths = [line.split(" = ")[0] for line in nodes]
    links = {
        name: made.ok("exec", name, "--", "sh", "-c", "ls /proc/sys/net/ipv4/conf").split()
        for name in ("network", "guest")
    }
    rows = {row["name"]: row for row in made.json("ps")["domains"]}
    held = {name: descriptors(rows[name]["pid"]) for name in ("network", "guest")}
    hypervisor = made.json("ps")["processes"][0]
    assert hypervisor["name"] == "hypervisor"
    return {
        "nodes": sorted(path for path in paths if "/vif" in path or "/error" in path),
        "links": links,
        "held": held,
        "hypervisor": descriptors(hypervisor["pid"]),
    }


def cycle(made: Commands) -> None:
    """Attach an interface, wait until frames could pass, detach it."""
    made.ok("xl", "network-attach", "guest", "bridge=xenbr0", "backend=network")
    deadline = time.monotonic() + LIMIT
    while True:
        rows = {row["name"]: row for row in made.json("ps")["domains"]}
        states = [
            (device["frontend_state"], device["backend_state"])
            for device in rows["guest"]["devices"]
        ]
        if len(states) == 2 and states == [(4, 4)] * 2:
            break
        assert time.monotonic() < deadline, f"waited {LIMIT:g} s for the interface: {states}"
        time.sleep(0.02)
    made.ok("xl", "network-detach", "guest", "1")


def go_round(tmp_path: Path, cycles: int) -> None:
    file = tmp_path / "cycles.toml"
    file.write_text(LAB, encoding="utf-8")
    with commands() as made:
        made.ok("up", "--quiet", str(file))
        cycle(made)  # what is made once is made now
        before = left(made)
        for _ in range(cycles):
            cycle(made)
        deadline = time.monotonic() + LIMIT
        # Grants that the peer let go of last are taken back a little later.
        while (after := left(made)) != before and time.monotonic() < deadline:
            time.sleep(0.2)
        assert after == before
        made.ok("down")


def test_ten_interfaces_leave_nothing(tmp_path: Path) -> None:
    go_round(tmp_path, 10)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_thousand_interfaces_leave_nothing(tmp_path: Path) -> None:
    go_round(tmp_path, 1000)
