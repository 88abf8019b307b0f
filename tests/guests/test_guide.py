"""The example of docs/guest-programs.md is taken from the page and run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest

from hvsim.drivers.block.front import BlockFront
from tests.guests.loopdisk import LoopDisk

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guest-programs.md").read_text()


def block(language: str) -> str:
    """The first fenced block of that language."""
    match = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert match is not None
    return match[1]


class Guest:
    """What the example uses of a Domain."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.health = ""
        self.shutdown_requested: str | None = None

    def log(self, text: str) -> None:
        self.lines.append(text)

    def ready(self) -> None:
        self.health = "ok"

    def sleep(self, seconds: float) -> None:
        assert self.health == "ok"
        self.shutdown_requested = "poweroff"


def test_the_example_counts_its_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program: Any = types.ModuleType("visits")
    exec(compile(block("python"), "visits.py", "exec"), program.__dict__)
    for boot in (1, 2, 3):
        with LoopDisk(tmp_path / "visits.img", 2048) as disk:
            monkeypatch.setattr(BlockFront, "open", lambda dom, vdev, disk=disk: disk)
            guest = Guest()
            program.main(guest)
        assert guest.lines == [f"boot number {boot}", "good bye"]


def test_the_example_is_typed(tmp_path: Path) -> None:
    (tmp_path / "visits.py").write_text(block("python"))
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir",
         tmp_path / "cache", "--follow-imports=silent", tmp_path / "visits.py"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_the_lab_file_is_what_the_page_says() -> None:
    lab = tomllib.loads(block("toml"))
    assert lab["domain"][0]["program"] == "visits:main"
    assert lab["image"][0]["path"] in lab["domain"][0]["disk"][0]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:configs|domains)/[\w./-]+)`", PAGE))))
def test_files_named_on_the_page_exist(path: str) -> None:
    assert (ROOT / path).exists()
