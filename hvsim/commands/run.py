"""hvsim run SCENARIO"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, print_json, say, seed, tell, warn, writable
from hvsim.errors import HvsimError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from hvsim.faults.scenario.model import Scenario
    from hvsim.wire.boot import Lockstep

HELP = """Run a scenario: a lab comes up, its clients do what the file says, things are broken when
it says, and everything is judged: nothing acknowledged is lost, no stale or foreign byte, registers
on a disk are linearizable, no grant leaks, no handshake goes astray, and after healing everybody
goes on in time. The lab is gone afterwards.

All that is drawn (moments, dice of the rules, the lab's own) is drawn from the seed. A file that
`hvsim explore` has written holds the order too: run it with --lockstep."""
EXAMPLE = """  hvsim run scenarios/storage-storm.toml
  hvsim run scenarios/storage-storm.toml --html report.html --junit report.xml
  hvsim run scenarios/storage-storm.toml --json | jq .checks"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("file", metavar="LAB", help="the scenario file (TOML)")
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="of all that is drawn (default: the file's, or 0)"
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="one process runs at a time, and the seed says which: two runs of a seed are the same",
    )
    parser.add_argument(
        "--order",
        choices=("random", "pct", "longest"),
        help="with --lockstep: anyone is next, by priorities that change a few times, or always "
        "the one that has waited longest (default: as the file says, or random)",
    )
    parser.add_argument(
        "--tape",
        metavar="FILE",
        help="with --lockstep: who is next is what FILE says, as --save-tape has written it, "
        "whole or cut",
    )
    parser.add_argument(
        "--save-tape", metavar="FILE", help="with --lockstep: write what was chosen (JSON)"
    )
    parser.add_argument("--name", metavar="N", help="call the lab N")
    parser.add_argument("--ledger", metavar="FILE", help="write the ledger, one JSON object a line")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML")
    parser.add_argument("--html", metavar="FILE", help="write a page to read, with a timeline")
    parser.add_argument("--quiet", "-q", action="store_true", help="tell the end only")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: every check held. 1: one did not, or the lab did not come up. 2: the file is no
    scenario."""
    import shlex

    from hvsim.faults.scenario.junit import junit
    from hvsim.faults.scenario.load import NoScenario, load
    from hvsim.faults.scenario.run import run as run_it
    from hvsim.faults.scenario.story import lines
    from hvsim.faults.scenario.tapes import text as tape_text
    from hvsim.observe.projection import projected
    from hvsim.printable import as_json

    try:
        scenario = load(options.file, options.name)
    except NoScenario as wrong:
        warn(*(f"hvsim: {line}" for line in wrong.lines))
        return 2
    lockstep = _lockstep(options, scenario)
    writable((options.ledger, options.save_tape, options.junit, options.html))
    number = scenario.seed if options.seed is None else options.seed
    silent = options.quiet or options.json
    if not silent:
        tell(f"{scenario.title} (seed {number})", *scenario.text.splitlines(), "")
    replay = f"hvsim run {shlex.quote(options.file)} --seed {number}"
    if lockstep is not None:
        replay += " --lockstep" + (f" --order {options.order}" if options.order else "")
        replay += f" --tape {shlex.quote(options.tape)}" if options.tape else ""
    row, witness = run_it(scenario, number, replay, (lambda _: None) if silent else say, lockstep)
    if options.ledger:
        records = map(projected, witness.ledger) if lockstep is not None else witness.ledger
        _write(options.ledger, (as_json(record, None) for record in records))
    if options.save_tape:
        _write(options.save_tape, [tape_text(witness.made, witness.tape, scenario.file.name)])
    if options.junit:
        _write(options.junit, [junit(row)])
    if options.html:
        from hvsim.faults.scenario.page import page

        _write(options.html, [page(row)])
    if options.json:
        print_json(row)
    else:
        tell(*lines(row))
    return 0 if row["ok"] else 1


def _lockstep(options: argparse.Namespace, scenario: Scenario) -> Lockstep | None:
    """Raises: HvsimError for options that say nothing together."""
    from hvsim.faults.scenario.tapes import load
    from hvsim.wire.boot import Lockstep

    alone = {"--order": options.order, "--tape": options.tape, "--save-tape": options.save_tape}
    if not options.lockstep:
        for option, given in alone.items():
            if given:
                raise HvsimError(f"run: {option} says nothing without --lockstep")
        return None
    if not options.tape:
        own = None if options.order else scenario.lockstep
        return own or Lockstep(way=options.order or "random")
    if options.order:
        raise HvsimError("run: --order and --tape both say who is next: give one of them")
    return Lockstep(way="tape", tape=load(options.tape, scenario.file.name))


def _write(path: str, texts: Iterable[str]) -> None:
    from pathlib import Path

    try:
        Path(path).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    except OSError as failure:
        raise HvsimError(f"{path}: {failure.strerror}") from None
