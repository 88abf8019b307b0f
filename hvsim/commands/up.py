"""hvsim up LAB"""

import argparse
import math
import time
from typing import TYPE_CHECKING

from hvsim.commands.common import daemon_options, json_option, print_json, seconds, tell
from hvsim.surroundings import OutputFailed

if TYPE_CHECKING:
    from hvsim.commands.rows import UpRow
    from hvsim.lab.up import Running

HELP = """Bring a lab up, and return when it is ready: every device Connected, and every
guest's own health check green. Each step of each device is told on the way.

If it cannot become ready, or with Ctrl-C, everything that was started is ended and removed. What a
failed lab can tell is kept before that, in a post-mortem folder that the last line names
(`hvsim postmortem`)."""
EXAMPLE = """  hvsim up configs/two-tier.toml
  hvsim up configs/two-tier.toml --name second    # a second one beside it
  hvsim up configs/two-tier.toml --store oxenstored --console xenconsoled"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("file", metavar="LAB", help="the lab file (TOML)")
    parser.add_argument("--name", metavar="N", help="call the lab N instead of what its file says")
    parser.add_argument("--quiet", "-q", action="store_true", help="say nothing on the way")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=math.inf,
        metavar="S",
        help="fail when the lab is not ready after S seconds "
        "(default: when nothing has moved for 60 s)",
    )
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="return as soon as every domain runs; wait for no device and no guest",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave a lab that fails as it is, to be looked at"
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="one process runs at a time, and the seed of the lab says which; time stands still "
        "while nobody waits for the lab",
    )
    daemon_options(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: ready (with --no-wait: started). 1: refused or failed, and nothing is left but, with
    --keep, the lab."""
    from hvsim.faults.of_lab import entering
    from hvsim.lab.load import load
    from hvsim.lab.up import bring_up
    from hvsim.observe.evidence import gather
    from hvsim.wire.boot import Lockstep

    begun = time.monotonic()
    lab = load(options.file, name=options.name, store=options.store, console=options.console)

    def progress(line: str) -> None:
        if not (options.quiet or options.json):
            tell(f"{time.monotonic() - begun:7.3f}  {line}")

    if not (options.quiet or options.json):
        for warning in lab.warnings:
            tell(f"warning: {warning}")
    running = bring_up(
        lab,
        say=progress,
        wait=not options.no_wait,
        timeout=options.timeout,
        leave=options.keep,
        gather=gather,
        before_run=entering(lab),
        lockstep=Lockstep() if options.lockstep else None,
    )
    try:
        _tell(options, lab.name, running)
    except OutputFailed:
        # This command is about to fail: who asks its exit code must not find a lab.
        running.down(now=True)
        raise
    return 0


def _tell(options: argparse.Namespace, name: str, running: "Running") -> None:
    if options.json:
        row: UpRow = {
            "name": name,
            "seconds": round(running.seconds, 3),
            "run_dir": str(running.run.path),
            "domids": running.domids,
            "walls": running.walls,
        }
        print_json(row)
    else:
        for name, missing in running.walls.items():
            tell(f"{name} runs without all of its walls: {', '.join(missing)}")
        done = "started, and not waited for," if options.no_wait else "ready"
        tell(
            f"lab {running.lab.name} is {done} after {running.seconds:.2f} s; "
            f"look at it with `hvsim ps`, end it with `hvsim down {running.lab.name}`"
        )
