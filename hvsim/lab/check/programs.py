"""What runs in the domains of a lab file, and what they may open: is it there?"""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hvsim.lab.check.files import file_fault
from hvsim.lab.model import Domain
from hvsim.lab.modules import missing
from hvsim.lab.problems import Fault
from hvsim.wire.walls import PATH


def program_faults(domains: Sequence[tuple[int, Domain]], directory: Path) -> Iterator[Fault]:
    """Every fault; *directory* is that of the lab file."""
    for index, domain in domains:
        yield from _program(("domain", index, "program"), domain, directory)
        for path, mode in domain.files:
            yield from _file(("domain", index, "files"), path, mode)


def _program(place: tuple[str | int, ...], domain: Domain, directory: Path) -> Iterator[Fault]:
    if domain.program is None:
        return
    if "exec" in domain.args and shutil.which(domain.args["exec"][0], path=PATH) is None:
        yield (
            place,
            f"there is no program {domain.args['exec'][0]!r} in {PATH}",
            "install it, or give its whole path",
        )
    _, colon, function = domain.program.partition(":")
    if not colon or not function:
        yield (
            place,
            f"{domain.program!r} is not of the form module:function",
            "write it as in domains.guests.idle:main",
        )
        return
    or_else = "name one of domains.guests"
    if fault := missing(domain.program, (directory, domain.directory), "function ", or_else):
        yield (place, *fault)


def _file(place: tuple[str | int, ...], path: str, mode: str) -> Iterator[Fault]:
    fault = file_fault(path)
    if fault is not None:
        yield (place, *fault)
    elif not os.access(path, os.R_OK if mode == "r" else os.R_OK | os.W_OK):
        yield (
            place,
            f"{path} may not be opened for {'reading' if mode == 'r' else 'writing'}",
            "give yourself the right to it",
        )
