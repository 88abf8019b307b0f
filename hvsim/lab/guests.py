"""Guests' configs are read by the toolstack's own parser; this is the lab's side of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hvsim.lab.model import Disk, Vif
from hvsim.lab.near_miss import XL_KEYS, did_you_mean, nearest, remedy
from hvsim.lab.problems import Problem
from hvsim.toolstack.config import ConfigError, DomainConfig, parse_config
from hvsim.toolstack.config.keys import BY_NAME, Effect
from hvsim.toolstack.config.settings import Settings
from hvsim.toolstack.config.syntax import FAILED, PYTHON
from hvsim.toolstack.devices.vbd import refusals

_AT_LINE = re.compile(r"^(?P<file>.+?):(?P<line>[0-9]+): (?P<text>.*)$", re.DOTALL)
_WARNING = "warning: "


@dataclass(frozen=True, slots=True)
class Guest:
    """A parsed config, or the problems that forbid it.

    Attributes:
        warnings: what was said of it that does not forbid it.
    """

    config: DomainConfig | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def parse_guest(
    text: str,
    source: str,
    overrides: Sequence[str],
    program: str | None,
    fallback: str | None = None,
) -> Guest:
    """Parse xl.cfg(5) `text` of `source`, with `overrides` lines in place of its own keys.

    `program` is the one that the lab file names, if it does, `fallback` the one that runs when
    nobody names any.
    """
    try:
        config = parse_config(text, source, overrides, program=program, fallback=fallback)
    except ConfigError as error:
        faults = [line for line in error.faults if line not in (FAILED, *PYTHON)]
        lines = faults or error.faults or [error.unsaid]
        return Guest(None, tuple(_problem(line, source) for line in lines))
    # xl says it and goes on without that word; a lab is refused.
    bad = tuple(
        Problem(source, 0, f"vif {number}", text, remedy(text)) for number, text in config.bad_vifs
    )
    left_out = {text for _, text in config.bad_vifs}
    said = [_problem(line, source) for line in config.warnings if line not in left_out]
    return Guest(None if bad else config, bad, (*said, *_without_effect(config.settings, source)))


def disks_of(config: DomainConfig) -> tuple[Disk, ...]:
    """What the lab needs to know of a guest's disks."""
    return tuple(
        Disk(
            disk.target or "",
            disk.backend or "",
            disk.vdev,
            disk.readonly,
            refusals.backendtype(disk) == refusals.QDISK,
            disk.shared,
        )
        for disk in config.disks
    )


def vifs_of(config: DomainConfig) -> tuple[Vif, ...]:
    """What the lab needs to know of a guest's interfaces."""
    return tuple(Vif(vif.mac, vif.backend or "", vif.ip) for vif in config.vifs)


def _without_effect(settings: Settings, source: str) -> Iterator[Problem]:
    """Keys that are accepted and change nothing."""
    for name, setting in settings.values.items():
        key = BY_NAME.get(name)
        if name in XL_KEYS and (key is None or key.effect is not Effect.NOTHING):
            continue
        if key is not None:
            text = f"{name} has no effect here: {key.why}"
            yield Problem(source, setting.line, "", text, "leave it out")
            continue
        near = nearest(name, XL_KEYS)
        yield Problem(
            source,
            setting.line,
            "",
            f"{name} is no key of xl.cfg(5), and xl passes over it",
            did_you_mean(name, XL_KEYS) if near else "leave it out",
        )


def device_words(config: DomainConfig) -> Iterator[tuple[str, str]]:
    """Words of disks and interfaces that are accepted and change nothing: (place, which)."""
    for disk in config.disks:
        for word, there in (
            ("direct-io-safe", disk.direct_io_safe),
            ("colo", bool(disk.colo)),
        ):
            if there:
                yield f"disk {disk.vdev}", word
    for number, vif in enumerate(config.vifs):
        for word, there in (
            ("type=ioemu", vif.kind == "ioemu"),
            ("model", vif.model is not None),
            ("gatewaydev", vif.gatewaydev is not None),
            ("forwarddev", vif.forwarddev is not None),
            ("trusted", vif.trusted is True),
            ("untrusted", vif.trusted is False),
        ):
            if there:
                yield f"vif {number}", word


def _problem(line: str, source: str) -> Problem:
    match = _AT_LINE.match(line)
    place = (match["file"], int(match["line"])) if match else (source, 0)
    text = match["text"] if match else line.removeprefix(f"{source}: ")
    return Problem(*place, "", text.removeprefix(_WARNING), _remedy(line))


def _remedy(line: str) -> str:
    single = re.search(r"parameter `(\w+)' is a single value", line)
    if single:
        return f"write {single[1]} = [ ... ]"
    number = re.search(r"parameter `(\w+)' (?:is not a valid number|could not be parsed)", line)
    if number:
        unit = " of MiB, as 1024" if number[1] in ("memory", "maxmem") else ""
        return f"xl goes on without it: write a number{unit}"
    return remedy(line)
