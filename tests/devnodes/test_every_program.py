"""Every program of Debian's Xen packages, run once in Domain-0: what docs/real-programs.md says."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support import optional
from tests.support.dom0_lab import Dom0

pytestmark = pytest.mark.interop

DOCS: Final = Path(__file__).parents[2] / "docs" / "real-programs.md"
PACKAGES: Final = ("xen-utils-4.17", "xen-utils-common", "xenstore-utils")
PATH: Final = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
ROW: Final = re.compile(r"\| (.+?) \| `(.+?)` \| (.+?) \| (\d+) \| (?:`(.*)`)? ?\| .*\|")
SECONDS: Final = 10
MARK: Final = "=== said"


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    programs: tuple[str, ...]
    command: str
    here: str
    status: int
    says: str


def folders() -> dict[str, Path]:
    """What the table calls lib and common.  Skips the test without the packages."""
    lib = Path(optional.xen_program("lsevtchn")).parent
    for program in ("xl", "xen-detect", "xenstore-ls"):
        optional.program(program)
    return {"lib": lib, "common": lib.parents[1] / "xen-common/bin"}


def rows() -> list[Row]:
    """The table of the document."""
    _, _, text = DOCS.read_text(encoding="utf-8").partition("\n## Every program\n")
    found = []
    for line in text.partition("\n## ")[0].splitlines():
        match = ROW.fullmatch(line)
        if match is not None:
            names, command, here, status, says = match.groups()
            programs = tuple(re.findall(r"`(.+?)`", names))
            found.append(Row(programs, command, here, int(status), says or ""))
    return found


def installed() -> set[str]:
    """The programs of the packages, named as the table names them.  Skips the test without them."""
    where = folders()
    command = ["dpkg", "-L", *PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("dpkg knows none of these packages: whose a program is cannot be told")
    found = set()
    for line in done.stdout.splitlines():
        folder, _, name = line.rpartition("/")
        for short, whole in where.items():
            if folder == str(whole):
                found.add(f"{short}/{name}")
        if folder in PATH:
            found.add(name)
    return found


def test_the_table_has_every_program() -> None:
    """Red when a row is taken out of it."""
    listed = {program for row in rows() for program in row.programs}
    assert listed == installed()


def script(all_rows: list[Row]) -> str:
    """All of them one after the other; errors come last when there are any."""
    lines = []
    where = folders()
    for number, row in enumerate(all_rows):
        argv = re.sub(
            r"(^|\s)(lib|common)/", lambda match: f"{match[1]}{where[match[2]]}/", row.command
        )
        lines += [
            f"timeout {SECONDS} {argv} >out.{number} 2>err.{number} </dev/null",
            f'echo "{MARK} {number} $?"',
            f"if grep -q '[^[:space:]]' err.{number}; then cat err.{number}; "
            f"else cat out.{number}; fi; echo",
        ]
    return "\n".join(lines)


def test_each_says_what_the_table_says(dom0: Dom0) -> None:
    """Exit code and last line; none hangs.

    Seen red: with EINVAL for a port that is closed (lsevtchn says nothing and exits with 0), and
    without SCHEDOP_watchdog and sysctl pm_op.
    """
    installed()
    table = rows()
    _, output, _ = dom0.run("sh", "-c", f"cd {dom0.folder} && {script(table)}")
    said: dict[int, tuple[int, str]] = {}
    for part in output.split(f"{MARK} ")[1:]:
        head, *lines = part.splitlines()
        number, status = map(int, head.split())
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        said[number] = status, last
    wrong = [
        (row.command, said.get(number), (row.status, row.says))
        for number, row in enumerate(table)
        if number not in said or said[number][0] != row.status or not fits(row, said[number][1])
    ]
    assert wrong == []


def fits(row: Row, last: str) -> bool:
    """Whether a line is that of the table, where "…" stands for whatever there is."""
    pattern = ".*".join(re.escape(part) for part in row.says.split("…"))
    return re.fullmatch(pattern, last) is not None


def test_no_program_exits_with_0_and_says_nothing_of_a_refusal() -> None:
    """What is refused says so, also where the program's own exit code does not."""
    silent = [row.command for row in rows() if row.here == "refused" and not row.says]
    assert silent == []
