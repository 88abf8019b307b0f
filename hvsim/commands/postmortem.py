"""hvsim postmortem [N]"""

import argparse
import time
from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, positive, print_json, say, table, warn
from hvsim.printable import quoted

if TYPE_CHECKING:
    from hvsim.commands.rows import PostmortemRow
    from hvsim.lab.postmortem import Postmortem

HELP = """Show what is known of a lab that failed: why, who waited for whom, what drivers reported,
how the devices came up, and the ends of the logs. Without N: list the labs that failed, the newest
first.

`hvsim up` keeps a post-mortem when it fails; a lab that has ended without `hvsim down` (its
hypervisor was killed) gets one when it is asked for here, cleared away or started anew. The last
10 are kept, below HVSIM_STATE_DIR, $XDG_STATE_HOME/hvsim or ~/.local/state/hvsim."""
EXAMPLE = """  hvsim postmortem
  hvsim postmortem 3"""

SHOWN = ("doctor.txt", "ps.txt", "errors.txt", "timeline.txt")
LOG_LINES = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("number", metavar="N", nargs="?", type=positive, help="which one")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0; 1 when there is none of that number."""
    from hvsim.lab import postmortem

    _keep_dead()
    if options.number is not None:
        one = postmortem.find(options.number)
        print_json(_row(one)) if options.json else say(*_whole(one))
        return 0
    known = postmortem.all_kept()
    if options.json:
        print_json([_row(one) for one in known])
    elif not known:
        say(f"No lab has failed, as far as {postmortem.home()} knows.")
    else:
        say(*_listing(known), f"the last {postmortem.KEEP} are kept, in {postmortem.home()}")
    return 0


def _keep_dead() -> None:
    """Of labs that are dead and not cleared away there is evidence still."""
    from hvsim.lab.rundir import survey

    labs, _ = survey()
    for lab in labs:
        if lab.state == "dead":
            from hvsim.lab import burial
            from hvsim.observe.evidence import gather

            burial.bury(lab, gather, lambda text: warn(f"hvsim: {text}"))


def _listing(known: "list[Postmortem]") -> list[str]:
    rows = [(one.number, _when(one.when), one.lab, one.why[0] if one.why else "-") for one in known]
    return table(("N", "WHEN", "LAB", "WHY"), rows)


def _when(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _row(one: "Postmortem") -> "PostmortemRow":
    return {
        "number": one.number,
        "lab": one.lab,
        "lab_file": one.lab_file,
        "time": one.when,
        "why": list(one.why),
        "path": str(one.path),
        "files": one.files,
    }


def _whole(one: "Postmortem") -> list[str]:
    lines = [f"post-mortem {one.number}: lab {one.lab} ({one.lab_file}), {_when(one.when)}", ""]
    lines += one.why
    for name in SHOWN:
        lines += _part(one, name)
    logs = [name for name in one.files if name.startswith(("log/", "console/"))]
    for name in logs:
        lines += _part(one, name, LOG_LINES)
    shown = {*SHOWN, *logs, "post-mortem.json"}
    others = [name for name in one.files if name not in shown]
    lines += ["", f"all of it, and {', '.join(others)}: in {one.path}"]
    return lines


def _part(one: "Postmortem", name: str, last: int | None = None) -> list[str]:
    text = one.text(name)
    if not text.strip():
        return []
    lines = quoted(text, "    ")
    return ["", f"--- {name}", *(lines if last is None else lines[-last:])]
