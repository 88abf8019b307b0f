"""Guests' configs are read by the toolstack's own parser; this is the lab's side of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hvsim.lab.model import Disk, Vif
from hvsim.lab.problems import Problem
from hvsim.toolstack.config import ConfigError, parse_config

_VIF_COMPLAINTS = ("Invalid parameter `", "unrecognized argument `", "command line: config parsing")
_AT_LINE = re.compile(r"^(?P<file>.+?):(?P<line>[0-9]+): (?P<text>.*)$")
_REMEDIES = (
    ("Neither kernel nor bootloader", 'add program = "module:function"'),
    ("name must be specified", 'add name = "..."'),
    ("disk specification", "write format=raw,vdev=xvda,access=rw,target=FILE"),
    ("config parsing error", "see xl.cfg(5)"),
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the lab needs to know of a guest's config."""

    name: str
    memory: int
    """MiB."""
    program: str | None
    driver: bool
    disks: tuple[Disk, ...]
    vifs: tuple[Vif, ...]


@dataclass(frozen=True, slots=True)
class Guest:
    """A parsed config, or the problems that forbid it."""

    parsed: Parsed | None
    problems: tuple[Problem, ...] = ()


def parse_guest(text: str, source: str, overrides: Sequence[str], program: str | None) -> Guest:
    """Parse xl.cfg(5) `text` of `source`, with `overrides` lines in place of its own keys.

    `program` is the one that the lab file names, if it does.
    """
    try:
        config = parse_config(text, source, overrides, program=program)
    except ConfigError as error:
        lines = [line for line in error.lines if not line.startswith("Failed to parse config")]
        return Guest(None, tuple(_problem(line, source) for line in lines or error.lines))
    # xl says it and goes on without the rest of that interface; a lab is refused.
    odd = [text for text in config.warnings if text.startswith(_VIF_COMPLAINTS)]
    if odd:
        remedy = "see xl-network-configuration(5): vif = ['mac=...,bridge=...,ip=...,backend=...']"
        return Guest(None, tuple(Problem(source, 0, "vif", text, remedy) for text in odd))
    disks = tuple(
        Disk(
            disk.target,
            disk.backend or "",
            disk.vdev,
            disk.readonly,
            disk.format != "raw" or disk.backendtype == "qdisk",
        )
        for disk in config.disks
    )
    vifs = tuple(Vif(vif.mac, vif.backend or "", vif.ip) for vif in config.vifs)
    return Guest(
        Parsed(config.name, config.memory, config.program, config.driver_domain, disks, vifs)
    )


def _problem(line: str, source: str) -> Problem:
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in line), "")
    match = _AT_LINE.match(line)
    if match:
        return Problem(match["file"], int(match["line"]), "", match["text"], remedy)
    return Problem(source, 0, "", line.removeprefix(f"{source}: "), remedy)
