"""Labs with disks that a real QEMU serves, on images that stay when the lab goes."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import optional
from tests.support.labs import Commands, commands
from tests.support.waits import wait

FORMATS = ("raw", "qcow2")


def need() -> None:
    """Skips the test where QEMU, its tools or the node library is missing."""
    optional.qemu()
    optional.program("qemu-img")
    optional.node_library()


def qemu_img(argv: list[str], check: bool = True) -> str:
    """What one command of qemu-img says; with *check* it must succeed."""
    command = [optional.program("qemu-img"), *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


class Image:
    """A disk image of a test."""

    def __init__(self, path: Path, format: str) -> None:
        self.path = path
        self.format = format

    def make(self, size: str) -> "Image":
        """Make it."""
        argv = ["create", "-q", "-f", self.format, str(self.path), size]
        qemu_img(argv)
        return self

    def disk(self, *more: str) -> str:
        """The disk line of a guest that it is xvda of."""
        words = (f"format={self.format}", "vdev=xvda", "backendtype=qdisk", *more)
        return ",".join((*words, f"target={self.path}"))

    def check(self) -> dict[str, Any]:
        """What ``qemu-img check`` finds: a qcow2's metadata; of a raw one there is nothing."""
        if self.format == "raw":
            return {"check-errors": 0}
        argv = ["check", "--output=json", "-f", self.format, str(self.path)]
        found: dict[str, Any] = json.loads(qemu_img(argv, check=False))
        return found

    def must_be_clean(self) -> None:
        """Assert that ``qemu-img check`` finds nothing to complain of."""
        found = self.check()
        faults = [found.get(key, 0) for key in ("check-errors", "corruptions", "leaks")]
        assert faults == [0, 0, 0], found

    def raw(self, folder: Path) -> Path:
        """Its content as a raw image."""
        if self.format == "raw":
            return self.path
        made = folder / f"{self.path.name}.raw"
        argv = ["convert", "-f", self.format, "-O", "raw", str(self.path), str(made)]
        qemu_img(argv)
        return made


class QdiskLab:
    """A running lab called "q" with one guest, "guest"."""

    def __init__(self, hvsim: Commands) -> None:
        self.hvsim = hvsim
        self.run = hvsim.base / "q"

    def console(self) -> str:
        """What the guest has said."""
        path = self.run / "console" / "guest.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def answers(self) -> dict[str, str]:
        """The lines ``answer <name>: <value>`` of the guest."""
        return dict(re.findall(r"answer ([^:]+): (.*)", self.console()))

    def acknowledged(self) -> list[int]:
        """The transactions that the guest's database has called committed."""
        return [int(number) for number in re.findall(r"commit (\d+)\n", self.console())]

    def await_commits(self, more: int, what: str) -> None:
        """Wait until *more* were acknowledged than now."""
        wanted = len(self.acknowledged()) + more
        wait(lambda: len(self.acknowledged()) >= wanted, what)

    def qemu(self) -> int:
        """The pid of the process below the guest's QEMU; 0 while there is none."""
        rows = self.hvsim.json("ps")["processes"]
        pids = [int(row["pid"]) for row in rows if row["name"] == "qemu-1" and row["pid"]]
        return pids[0] if pids else 0

    def node(self, path: str) -> str | None:
        """The value of a node of the store, None when there is none."""
        done = self.hvsim.run("xenstore", "read", path)
        return done.stdout.rstrip("\n") if done.returncode == 0 else None


@contextmanager
def running(folder: Path, disk: str, program: str, more: str = "") -> Iterator[QdiskLab]:
    """A lab with that guest, up; down afterwards, and nothing of it is left.

    *program* is looked for in *folder* first; *more* are further keys of the domain.
    """
    need()
    lab = folder / "lab.toml"
    lab.write_text(
        f'[lab]\nname = "q"\n[[domain]]\nname = "guest"\nmemory = 64\n'
        f'program = "{program}"\ndisk = ["{disk}"]\n{more}'
    )
    with commands() as hvsim:
        hvsim.ok("up", "--quiet", str(lab))
        yield QdiskLab(hvsim)
        assert "nothing of it is left" in hvsim.ok("down")


def seen(condition: Callable[[], bool], what: str) -> None:
    """Wait until *condition* holds, bounded."""
    wait(condition, what)
