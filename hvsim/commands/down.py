"""hvsim down [N]"""

import argparse
from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, lab_option, print_json, seconds, tell, warn
from hvsim.errors import HvsimError
from hvsim.lab.rundir import RunDir

if TYPE_CHECKING:
    from hvsim.commands.rows import DownRow

HELP = """End a lab and remove its run directory. Needs no lab file.

Guests are asked to shut down first; with --now they are not. Also clears away what a killed
hypervisor or a killed `hvsim up` has left."""
EXAMPLE = """  hvsim down
  hvsim down two-tier --now"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument(
        "name", metavar="N", nargs="?", help="the lab (default: HVSIM_LAB, or the only one)"
    )
    parser.add_argument("--now", action="store_true", help="do not ask the guests first")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=10.0,
        metavar="S",
        help="seconds that the guests have to shut down (default: 10)",
    )
    lab_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: it is gone. 1: no such lab, or something would not end."""
    import os

    from hvsim.lab.choose import no_such
    from hvsim.lab.rundir import base_dir, survey
    from hvsim.lab.teardown import take_down

    known, strange = survey()
    labs = {lab.name: lab for lab in known}
    named = options.name or options.lab
    asked = named or os.environ.get("HVSIM_LAB")
    if asked is None and len(labs) == 1:
        asked = next(iter(labs))
    if asked is None and labs:
        raise HvsimError(
            f"{len(labs)} labs are here ({', '.join(labs)}); say which: "
            f"`hvsim down {next(iter(labs))}`"
        )
    if asked not in labs and asked in strange:
        raise HvsimError(strange[asked])
    if asked not in labs:
        there = f"there: {', '.join(labs)}" if labs else "there is none"
        if asked and not named:
            raise no_such(asked, "HVSIM_LAB", there)
        raise HvsimError(f"no lab {asked or ''} in {base_dir()} ({there})".replace("lab  ", "lab "))
    lab = labs[asked]
    if lab.state == "starting" and lab.busy:
        raise HvsimError(
            f"lab {asked} is being started by pid {lab.record['launcher']['pid']}; "
            "press Ctrl-C there, or wait until it is up"
        )
    _bury(lab, quiet=options.json)
    left = take_down(
        lab,
        now=options.now,
        guests_timeout=options.timeout,
        say=lambda line: None if options.json else tell(line),
    )
    if options.json:
        row: DownRow = {"name": asked, "leftovers": left}
        print_json(row)
    elif left:
        tell(f"lab {asked} is down; what could not be removed: {', '.join(left)}")
    else:
        tell(f"lab {asked} is down; nothing of it is left")
    return int(bool(left))


def _bury(lab: RunDir, *, quiet: bool) -> None:
    """Keep what a dead lab can tell before its run directory goes."""
    if lab.state != "dead":
        return
    from hvsim.lab import burial
    from hvsim.observe.evidence import gather

    kept = burial.bury(lab, gather, lambda text: warn(f"hvsim: {text}"))
    if kept is not None and not quiet:
        said = kept.why[0] if kept.why else f"lab {lab.name} has ended"
        tell(f"{said}; `hvsim postmortem {kept.number}` shows what is known")
