"""A hypervisor that a nursery has forked is like any other; and the nursery ends with its user."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from hvsim.errors import HvsimError
from hvsim.lab.load import load
from hvsim.lab.nursery import Nursery
from hvsim.lab.up import bring_up
from hvsim.linux import proc
from hvsim.observe.evidence import gather
from tests.support.labs import commands

LAB = """
[lab]
name = "nursling"
walls = "what-there-is"

[[domain]]
name = "guest"
memory = 32
program = "domains.guests.idle:main"
"""


def test_labs_come_up_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red with a fork that keeps what it inherits: a lab's pipes never end then."""
    file = tmp_path / "lab.toml"
    file.write_text(LAB, encoding="utf-8")
    with commands() as hvsim, Nursery() as nursery:
        monkeypatch.setenv("HVSIM_RUN_DIR", str(hvsim.base))
        for name in ("one", "two"):
            lab = replace(load(file), name=name)
            running = bring_up(lab, gather=gather, start=nursery.start)
            try:
                rows = json.loads(hvsim.ok("--lab", name, "ps", "--json"))
                assert [row["name"] for row in rows["domains"]] == ["Domain-0", "guest"]
            finally:
                running.down()
            assert not running.run.path.exists()


def test_it_ends_with_its_user() -> None:
    nursery = Nursery()
    pidfd = os.pidfd_open(nursery.pid)
    try:
        nursery.close()
        ready = select.poll()
        ready.register(pidfd, select.POLLIN)
        assert ready.poll(10_000)
    finally:
        os.close(pidfd)
    assert proc.state(nursery.pid) in ("", *proc.GONE)


def test_one_that_has_died_says_so(tmp_path: Path) -> None:
    with Nursery() as nursery, open(tmp_path / "log", "wb") as log:
        os.kill(nursery.pid, signal.SIGKILL)
        os.waitid(os.P_PID, nursery.pid, os.WEXITED | os.WNOWAIT)
        assert nursery.ended
        with pytest.raises(HvsimError, match="the process that starts labs has ended"):
            nursery.start([], [], log, {})
