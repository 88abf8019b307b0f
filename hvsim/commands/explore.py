"""hvsim explore SCENARIO"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hvsim.commands.common import (
    json_option,
    positive,
    print_json,
    say,
    seed,
    tell,
    warn,
    writable,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hvsim.explore.rows import ExploreRow, FoundRow

HELP = """Find a bug that nobody planted: run a scenario in lockstep over and over, each time in
another order, until something does not hold; then leave out of the order, the faults and the steps
whatever the failure does not need, and write a scenario file that replays what is left.

Every other run is like an earlier one in whose ledger something came after something else that few
have seen in this order."""
EXAMPLE = """  hvsim explore scenarios/storage-storm.toml --runs 2000
  hvsim explore scenarios/storage-storm.toml --order pct --seed 100
  hvsim explore scenarios/storage-storm.toml --dask tcp://scheduler:8786"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of this verb."""
    parser.add_argument("file", metavar="LAB", help="the scenario file (TOML)")
    parser.add_argument(
        "--runs", type=positive, metavar="N", default=1000, help="at most so many (default: 1000)"
    )
    parser.add_argument(
        "--order",
        choices=("random", "pct", "both"),
        default="both",
        help="anyone is next, by priorities that change a few times, or both in turn "
        "(default: both)",
    )
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="the first seed (default: the file's, or 0)"
    )
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="runs at once (default: one a processor)"
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="have the workers of this Dask scheduler make the runs (hvsim[scale]); they need the "
        "scenario at the same path",
    )
    parser.add_argument(
        "--shrink",
        type=positive,
        metavar="N",
        default=400,
        help="runs to shrink with at most (default: 400)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="the file that replays; it is to lie beside the scenario, whose relative paths it has "
        "(default: NAME-found-SEED.toml)",
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: nothing was found. 1: something was, or no lab came up. 2: the file is no
    scenario, or --out lies elsewhere, or is that file."""
    from dataclasses import replace

    from hvsim.explore.explore import Wanted, explore, replays_in
    from hvsim.explore.workers import dask, local, processors
    from hvsim.faults.scenario.load import NoScenario, load
    from hvsim.lab.check.lockstep import refuse

    try:
        scenario = load(options.file)
    except NoScenario as wrong:
        warn(*(f"hvsim: {line}" for line in wrong.lines))
        return 2
    first = scenario.seed if options.seed is None else options.seed
    if wrong_place := _misplaced(options.out, scenario.file):
        warn(f"hvsim: explore: --out {options.out}: {wrong_place}")
        return 2
    refuse(scenario.lab)
    writable([options.out or str(replays_in(scenario, first))])
    jobs = options.jobs or processors()
    wanted = Wanted(scenario, options.runs, first, options.order, jobs, options.out, options.shrink)
    talk = (lambda _: None) if options.json else say
    if options.dask:
        with dask(options.dask) as (executor, threads, look):
            wanted = replace(wanted, jobs=options.jobs or threads)
            row = explore(wanted, executor, talk, look)
    else:
        with local(jobs) as executor:
            row = explore(wanted, executor, talk)
    if options.json:
        print_json(row)
    else:
        tell(*_lines(row))
    return 0 if row["found"] is None else 1


def _misplaced(out: str | None, scenario: Path) -> str:
    """Why what is found cannot go there; "" when it can."""
    if out is None:
        return ""
    file, folder = Path(out).resolve(), scenario.parent.resolve()
    if file.parent != folder:
        return f"not in {folder}, beside the scenario, whose relative paths it has"
    if file == scenario.resolve():
        return "the scenario itself, which is to stay; name another file"
    return ""


def _lines(row: ExploreRow) -> Iterator[str]:
    from hvsim.explore.explore import progress

    yield f"{row['scenario']}: " + progress(
        row["runs"], row["runs_a_minute"], row["coverage"], row["late"]
    )
    found = row["found"]
    if found is None:
        yield "nothing was found"
    else:
        yield from _of_found(found)


def _of_found(found: FoundRow) -> Iterator[str]:
    import shlex

    yield f"FAILED  {found['check']}"
    if found["said"]:
        yield f"          {found['said']}"
    yield f"found in run {found['after']}: seed {found['seed']}, {found['order']}"
    yield f"shrunk in {found['shrink_runs']} runs: {_needs(found)}"
    yield f"again: hvsim run {shlex.quote(found['file'])} --lockstep"


def _needs(found: FoundRow) -> str:
    """What is left of the run that was found."""
    tape, acts = found["tape_after"], found["acts_after"]
    order = (
        f"{tape} of {found['tape_before']} choices of who is next" if tape else "no special order"
    )
    if not found["acts_before"]:
        return f"it needs {order}"
    return f"it needs {order}, and {acts} of {found['acts_before']} faults and steps"
