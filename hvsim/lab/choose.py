"""Which lab does a command address?"""

import os

from hvsim.errors import HvsimError
from hvsim.lab.rundir import RunDir, base_dir, survey


def choose(name: str | None = None) -> RunDir:
    """The running lab `name`, or the one HVSIM_LAB names, or the only one that runs.

    Raises HvsimError.
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
            raise HvsimError(strange[asked])
        start = "none runs: start one with `hvsim up LAB.toml`"
        raise no_such(asked, source, f"running: {names}" if names else start)
    if len(running) == 1:
        return running[0]
    if running:
        raise HvsimError(
            f"{len(running)} labs run ({names}); say which with --lab NAME or "
            f"`export HVSIM_LAB={running[0].name}`"
        )
    dead = "; ".join(f"{lab.name}: {lab.why_ended()}" for lab in labs)
    more = f" (ended without `hvsim down`: {dead})" if dead else ""
    raise HvsimError(f"no lab runs in {base_dir()}{more}; start one with `hvsim up LAB.toml`")


def no_such(asked: str, source: str, there: str) -> HvsimError:
    """There is no lab of the name that *source* gives ("--lab", "HVSIM_LAB").

    Args:
        there: which labs there are, in words.
    """
    # What `hvsim env` exported stays in a shell for longer than its lab lives.
    remedy = "; `unset HVSIM_LAB` if that lab is over" if source == "HVSIM_LAB" else ""
    return HvsimError(f"{source} {asked}: no such lab in {base_dir()}; {there}{remedy}")


def _usable(lab: RunDir) -> RunDir:
    if lab.running:
        return lab
    raise HvsimError(
        f"lab {lab.name} has ended: {lab.why_ended()}; clear it away with `hvsim down {lab.name}`, "
        "`hvsim postmortem` tells what is known of it"
    )
