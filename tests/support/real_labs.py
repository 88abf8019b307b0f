"""Labs whose dom0 has daemons of Xen's own, and what tests ask of them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hvsim.lab.processes import descendants
from tests.support import optional
from tests.support.labs import ROOT, Commands, commands, patient
from tests.support.waits import wait

TIMEOUT = 60.0
STORES = ("xenstored", "oxenstored")


def lab_file(store: str) -> Path:
    """The lab that we ship with that store."""
    return ROOT / "configs" / f"real-{store}.toml"


def need(program: str) -> Path:
    """Where a daemon of xen-utils is; skips the test where it is missing."""
    path = optional.xen_program(program)
    optional.node_library()
    return Path(path)


class RealLab:
    """One running lab."""

    def __init__(self, hvsim: Commands, name: str) -> None:
        self.hvsim = hvsim
        self.run = hvsim.base / name

    def console(self, domain: str) -> str:
        """What a domain has said."""
        real, ours = (self.run / "console" / f"{head}{domain}.log" for head in ("guest-", ""))
        return (real if real.exists() else ours).read_text(errors="replace")

    def commits(self) -> int:
        """How many transactions the database has acknowledged."""
        return max([0, *map(int, re.findall(r"commit (\d+)", self.console("db-primary")))])

    def await_commits(self, more: int, what: str) -> None:
        """Wait until *more* were acknowledged than now."""
        wanted = self.commits() + more
        wait(lambda: self.commits() >= wanted, what)

    def pids(self, process: str) -> list[int]:
        """The pid of a process of dom0, if it is there."""
        rows = self.hvsim.json("ps")["processes"]
        return [int(row["pid"]) for row in rows if row["name"] == process]

    def pid(self, process: str) -> int:
        """The pid of a process of dom0 that is there."""
        [pid] = self.pids(process)
        return pid

    def executable(self, process: str) -> Path:
        """The program that a process of dom0 runs: its child."""
        [child] = descendants(self.pid(process))
        return Path(f"/proc/{child}/exe").resolve()


@contextmanager
def running(store: str, *words: str) -> Iterator[RealLab]:
    """The lab that we ship with that store, patient, up; down afterwards, and nothing of it is
    left."""
    with patient(lab_file(store)) as file, commands() as hvsim:
        hvsim.ok("up", "--quiet", str(file), *words)
        yield RealLab(hvsim, f"real-{store}")
        assert "nothing of it is left" in hvsim.ok("down")
