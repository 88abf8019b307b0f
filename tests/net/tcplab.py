"""A lab of a network domain and two guests, and downloads from one to the other."""

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domains.guests.tiers import body
from tests.support import optional
from tests.support.labs import Commands

LAB = """
[lab]
name = "tcp"
memory = 512

[[domain]]
name = "network"
memory = 64
role = "driver"
restart = "always"
program = "domains.network:main"
extra = "address=10.0.0.254/24"

[[domain]]
name = "near"
memory = 64
program = "domains.guests.idle:main"
vif = ["bridge=xenbr0,ip=10.0.0.1/24,backend=network"]

[[domain]]
name = "far"
memory = 64
program = "domains.guests.web:main"
extra = "database=10.0.0.1"
vif = ["bridge=xenbr0,ip=10.0.0.2/24,backend=network"]
"""
JUMBO = re.sub(
    r'vif = \["bridge=xenbr0,ip=10.0.0.(\d)/24,backend=network"',
    r"\g<0>, "
    r'"bridge=jumbo,ip=10.1.0.\1/24 fd00:1::\1/64 10.2.0.\1,mtu=9000,backend=network"',
    LAB,
)
"""The same with a second interface of each guest: several addresses, large frames."""
LIMIT = 60.0


@contextmanager
def tcp_lab(directory: Path, commands: Commands, lab: str = LAB) -> Iterator[Commands]:
    """Up within the block, and down again without a trace."""
    file = directory / "tcp.toml"
    file.write_text(lab, encoding="utf-8")
    commands.ok("up", "--quiet", str(file))
    yield commands
    assert "nothing of it is left" in commands.ok("down", "--now")


def checksum(size: int) -> str:
    """Of a download of that size."""
    whole = hashlib.sha256()
    for piece in body(size):
        whole.update(piece)
    return whole.hexdigest()


def download(lab: Commands, size: int, *options: str) -> "subprocess.Popen[str]":
    """Begin one in `near`; its output is its checksum, and curl's status on standard error.

    Skips the test where there is no curl.
    """
    optional.program("curl")
    words = " ".join(options)
    script = f"(curl -sS {words} http://far/bytes/{size}; echo curl=$? >&2) | sha256sum"
    return subprocess.Popen(
        lab.argv("exec", "near", "--", "sh", "-c", script),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=lab.environment,
    )


@contextmanager
def downloading(lab: Commands, size: int, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """The same, ended when what is done meanwhile fails: it may wait for what never comes."""
    with download(lab, size, *options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def finish(process: "subprocess.Popen[str]", size: int, timeout: float, lab: Commands) -> None:
    """Wait for its end, which must be a good one: one connection, every byte."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        ps, said = lab.run("ps", "--full").stdout, lab.run("events").stdout[-4000:]
        pytest.fail(f"the download did not end within {timeout:g} s\n{ps}\n{said}")
    assert err.strip() == "curl=0", err
    assert out.split()[0] == checksum(size)


def network_domid(lab: Commands) -> int:
    """The domid of the network domain that serves now; 0 while there is none."""
    rows = lab.json("ps")["domains"]
    return next((int(row["domid"]) for row in rows if row["name"] == "network"), 0)


def kill_network(lab: Commands) -> None:
    """Kill the network domain, and wait until every vif is connected to its successor."""
    before = network_domid(lab)
    lab.ok("fault", "kill", "network")
    deadline = time.monotonic() + LIMIT
    while not reconnected(lab, before):
        assert time.monotonic() < deadline, lab.ok("ps")
        time.sleep(0.05)


def reconnected(lab: Commands, before: int) -> bool:
    """Whether every vif is served by another domain than *before*."""
    done = [lab.run("xl", "network-list", guest, "--json") for guest in ("near", "far")]
    rows = [row for one in done if one.returncode == 0 for row in json.loads(one.stdout)]
    return all(one.returncode == 0 for one in done) and all(
        row["backend_domid"] not in (0, before) and row["state"] == 4 for row in rows
    )
