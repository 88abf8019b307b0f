"""The labs that are measured: brought up for a group of rows, and down again."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hvsim.lab.load import load
from hvsim.lab.processes import family
from hvsim.lab.up import Running, bring_up
from hvsim.observe.evidence import gather
from hvsim.wire.control import Ps

LABS = Path(__file__).parent / "labs"
MEMORY = Path("/dev/shm")
"""A file system in memory, where Linux has one: no disk below takes part in a figure."""


@contextmanager
def lab(file: Path, name: str = "") -> Iterator[Running]:
    """The lab of `file`, running, under a name of its own.  Raises HvsimError."""
    running = bring_up(load(file, name=f"bench-{name or file.stem}-{os.getpid()}"), gather=gather)
    try:
        yield running
    finally:
        running.down(now=True)


@contextmanager
def in_memory(name: str) -> Iterator[Path]:
    """Lab file `name` of ours, copied with the worker to a folder in memory, for images beside
    it."""
    base = str(MEMORY) if os.access(MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="hvsim-bench-", dir=base) as folder:
        os.chmod(folder, 0o755)  # for the domains of a lab of root, who are somebody else
        for file in (name, "worker.py"):
            shutil.copy(LABS / file, folder)
        yield Path(folder) / name


def fill(image: Path) -> None:
    """Write every block of an image: no holes, and all of it in memory."""
    piece = os.urandom(1 << 20)
    with open(image, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(0, size, len(piece)):
            file.write(piece)


def pids(running: Running) -> dict[str, int]:
    """The processes of a lab by name: the hypervisor's, those of dom0, each domain's."""
    hypervisor = running.run.hypervisor
    assert hypervisor is not None, "the lab runs"
    found = {"hypervisor": hypervisor.pid}
    with running.control() as control:
        for row in control.data(Ps())["domains"]:
            for process, pid in row["pids"].items():
                found[str(row["name"]) if process == "main" else str(process)] = int(pid)
    return found


def everybody(running: Running) -> list[int]:
    """Every process of a lab, those that only wait for others among them."""
    hypervisor = running.run.hypervisor
    return [one.pid for one in family(hypervisor)] if hypervisor is not None else []
