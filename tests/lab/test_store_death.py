"""A lab with guests that do block I/O goes on while its store is killed, and replaced."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from tests.support.labs import TWO_TIER, Commands, commands
from tests.support.waits import wait

TIMEOUT = 60.0


def console(hvsim: Commands, domain: str) -> str:
    path: Path = hvsim.base / "two-tier" / "console" / f"{domain}.log"
    return path.read_text(errors="replace")


def commits(hvsim: Commands) -> int:
    return max([0, *map(int, re.findall(r"commit (\d+)", console(hvsim, "db-primary")))])


def went_on(hvsim: Commands, before: int) -> bool:
    return commits(hvsim) > before


def test_block_io_goes_on(tmp_path: Path) -> None:
    with commands() as hvsim:
        hvsim.ok("up", str(TWO_TIER))
        for verb in (["fault", "kill", "xenstored"], ["xenstore", "live-update"]) * 2:
            before = commits(hvsim)
            hvsim.ok(*verb)
            wait(partial(went_on, hvsim, before), f"commits after {verb}")
        assert hvsim.ok("xenstore", "control", "live-update").strip() == "5"
        assert hvsim.ok("xenstore", "control", "check").strip() == "OK"
        # Its watches are those that a driver domain's recovery stands on.
        before = commits(hvsim)
        hvsim.ok("fault", "kill", "storage")
        wait(lambda: commits(hvsim) > before + 1, "commits after the storage domain was rebuilt")
        for domain in ("db-primary", "web-frontend"):
            assert "I/O error" not in console(hvsim, domain)
            assert "Traceback" not in console(hvsim, domain)
        hvsim.ok("down", "two-tier")
