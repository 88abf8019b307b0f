"""A lab for the real programs of Domain-0: a storage domain (1), and a guest g (2) with a disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import optional
from tests.support.labs import Commands, commands

LAB = """
[lab]
name = "dom0"
[[image]]
path = "a.img"
size = "4M"
scratch = true
[[domain]]
name = "storage"
role = "driver"
memory = 32
restart = "always"
program = "domains.storage:main"
[[domain]]
name = "g"
memory = 64
program = "domains.guests.idle:main"
disk = ["format=raw,vdev=xvda,access=rw,backend=storage,target=a.img"]
"""


@dataclass
class Dom0:
    """The lab, and a directory that its programs may read."""

    lab: Commands
    folder: Path

    @property
    def place(self) -> Path:
        """What is /var/lib/xen and the like to programs of Domain-0."""
        return self.lab.base / "dom0" / "dom0"

    def run(self, *argv: str, domain: str = "Domain-0") -> tuple[int, str, str]:
        """Run a program; exit status, output and errors."""
        done = self.lab.run("exec", domain, "--", *argv)
        return done.returncode, done.stdout, done.stderr

    def ok(self, *argv: str, domain: str = "Domain-0") -> str:
        """Run a program that must succeed and have nothing to complain of; its output."""
        status, output, errors = self.run(*argv, domain=domain)
        assert (status, errors) == (0, ""), (argv, status, output, errors)
        return output


@contextmanager
def dom0_lab(folder: Path) -> Iterator[Dom0]:
    """Such a lab, within the block; *folder* is one that nobody else uses."""
    optional.node_library()
    (folder / "lab.toml").write_text(LAB, encoding="utf-8")
    with commands() as made:
        made.ok("up", "--quiet", str(folder / "lab.toml"))
        yield Dom0(made, folder)
        made.ok("down")


@pytest.fixture(scope="session")
def dom0(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dom0]:
    """One for all tests: what a test changes it puts back, and no domain gets a new number."""
    with dom0_lab(tmp_path_factory.mktemp("dom0")) as lab:
        yield lab
