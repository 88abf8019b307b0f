"""hvsim logs [DOMAIN]"""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, lab_option, positive, print_json, say, table, tell
from hvsim.errors import HvsimError
from hvsim.speak import is_terminal
from hvsim.surroundings import write_all

if TYPE_CHECKING:
    from pathlib import Path

    from hvsim.commands.rows import ConsoleRow
    from hvsim.lab.rundir import RunDir

HELP = """Show what a domain wrote on its console, and why it has crashed if it has; also after it
is gone. Without DOMAIN: list the consoles of the lab.

Lines are shown with control characters escaped; --raw gives all of the log's bytes as they are,
to a file or a program.
`hvsim xl console DOMAIN` is the console itself."""
EXAMPLE = """  hvsim logs
  hvsim logs db-primary -n 50
  hvsim logs db-primary --raw > db.log"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("domain", metavar="DOMAIN", nargs="?", help="its name")
    parser.add_argument(
        "-n", dest="lines", metavar="N", type=positive, default=20, help="last lines (default: 20)"
    )
    parser.add_argument("--raw", action="store_true", help="all bytes, as they are")
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when there is no such console."""
    from hvsim.lab.choose import choose
    from hvsim.lab.logs import last_lines

    lab = choose(options.lab)
    if options.domain is None:
        if options.raw:
            raise HvsimError("--raw needs the name of a domain: `hvsim logs DOMAIN --raw`")
        rows = [_row(file, last_lines(file, 1)) for file in sorted(lab.console.glob("*.log"))]
        if options.json:
            print_json(rows)
        else:
            cells = [(row["name"], row["bytes"], *(row["lines"] or ["-"])) for row in rows]
            tell(*table(("CONSOLE", "BYTES", "LAST LINE"), cells))
        return 0
    file = _console(lab, options.domain)
    if options.raw:
        if is_terminal():
            raise HvsimError(
                "--raw is for a file or a program: what a domain wrote could move the cursor of "
                f"this terminal; `hvsim logs {options.domain} --raw | less` shows it"
            )
        _copy(file)
        return 0
    why, lines = _crash(lab, options.domain), last_lines(file, options.lines)
    if options.json:
        print_json({**_row(file, lines), "crash": why})
    else:
        say(*lines, *([why] if why else []))
    return 0


def _row(file: "Path", lines: list[str]) -> "ConsoleRow":
    name = file.name.removesuffix(".log").removeprefix("guest-")
    return {"name": name, "path": str(file), "bytes": file.stat().st_size, "lines": lines}


def _console(lab: "RunDir", name: str) -> "Path":
    """Raises HvsimError: nobody of that name has had one here."""
    for file in lab.console.glob("*.log"):
        if file == lab.console_log(name):
            return file
    known = ", ".join(_row(file, [])["name"] for file in sorted(lab.console.glob("*.log")))
    raise HvsimError(f"no domain {name} has had a console here (there: {known or 'none'})")


def _crash(lab: "RunDir", name: str) -> str:
    """The sentence of `hvsim ps` on a crash, or ""."""
    from hvsim.lab.inquiry import Inquiry

    found = [one.text for one in Inquiry(lab).everybody() if one.who == name]
    return found[0] if found else ""


def _copy(file: "Path") -> None:
    sys.stdout.flush()
    with file.open("rb", buffering=0) as log:
        left = os.fstat(log.fileno()).st_size
        while left > 0 and (data := log.read(min(left, 1 << 16))):
            write_all(sys.stdout.fileno(), data)
            left -= len(data)
