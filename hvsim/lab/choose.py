"""Which lab does a command address?"""

import os

from hvsim.lab.problems import HvsimError
from hvsim.lab.rundir import RunDir, base_dir, survey


class NoSuchLab(HvsimError):
    """No lab, or no single lab, is meant. The text says which labs run and what to type."""


def choose(name: str | None = None) -> RunDir:
    """The running lab `name`, or the one HVSIM_LAB names, or the only one that runs.

    Raises NoSuchLab.
    """
    asked = name or os.environ.get("HVSIM_LAB")
    source = "--lab" if name else "HVSIM_LAB"
    labs, strange = survey()
    running = [lab for lab in labs if lab.running]
    names = ", ".join(lab.name for lab in running)
    if asked:
        for lab in labs:
            if lab.name == asked:
                return _usable(lab)
        if asked in strange:
            raise NoSuchLab(strange[asked])
        raise NoSuchLab(
            f"{source} {asked}: no such lab in {base_dir()}; "
            + (f"running: {names}" if names else "none runs: start one with `hvsim up LAB.toml`")
        )
    if len(running) == 1:
        return running[0]
    if running:
        raise NoSuchLab(
            f"{len(running)} labs run ({names}); say which with --lab NAME or "
            f"`export HVSIM_LAB={running[0].name}`"
        )
    dead = "; ".join(f"{lab.name}: {lab.why_ended()}" for lab in labs)
    more = f" (ended without `hvsim down`: {dead})" if dead else ""
    raise NoSuchLab(f"no lab runs in {base_dir()}{more}; start one with `hvsim up LAB.toml`")


def _usable(lab: RunDir) -> RunDir:
    if lab.running:
        return lab
    raise NoSuchLab(
        f"lab {lab.name} has ended: {lab.why_ended()}; clear it away with `hvsim down {lab.name}`, "
        "`hvsim postmortem` tells what is known of it"
    )
