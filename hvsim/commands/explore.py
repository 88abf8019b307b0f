"""hvsim explore SCENARIO"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hvsim.commands.common import json_option, positive, print_json, say, tell, warn

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from hvsim.explore.rows import ExploreRow, FoundRow

HELP = """Find a bug that nobody planted: run a scenario in lockstep over and over, each time in
another order, until something does not hold; then leave out of the order, the faults and the steps
whatever the failure does not need, and write a scenario file that replays what is left.

Every other run is like an earlier one that went where few went (transitions of the ledger)."""
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
        "--seed", type=positive, metavar="N", help="the first seed (default: the file's, or 0)"
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
        "--out", metavar="FILE", help="the file that replays (default: beside the scenario)"
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Exit 0: nothing was found. 1: something was, or no lab came up. 2: the file is no
    scenario."""
    from dataclasses import replace

    from hvsim.explore.explore import Wanted, explore
    from hvsim.explore.workers import dask, local, processors
    from hvsim.faults.scenario.load import NoScenario, load

    try:
        scenario = load(options.file)
    except NoScenario as wrong:
        warn(*(f"hvsim: {line}" for line in wrong.lines))
        return 2
    first = scenario.seed if options.seed is None else options.seed
    jobs = options.jobs or processors()
    wanted = Wanted(scenario, options.runs, first, options.order, jobs, options.out, options.shrink)
    talk = (lambda _: None) if options.json else say
    if options.dask:
        with dask(options.dask) as (executor, threads):
            wanted = replace(wanted, jobs=options.jobs or threads)
            row = explore(wanted, executor, talk)
    else:
        with local(jobs) as executor:
            row = explore(wanted, executor, talk)
    if options.json:
        print_json(row)
    else:
        tell(*_lines(row))
    return 0 if row["found"] is None else 1


def _lines(row: ExploreRow) -> Iterator[str]:
    yield (
        f"{row['scenario']}: {row['runs']} runs, {row['runs_a_minute']:.0f} a minute, "
        f"{row['coverage']} transitions seen"
        + (f", {row['late']} runs ended as they took too long" if row["late"] else "")
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
    yield (
        f"tape: {found['tape_before']} of {found['choices']} choices, shrunk to "
        f"{found['tape_after']}; faults and steps: {found['acts_before']}, shrunk to "
        f"{found['acts_after']} ({found['shrink_runs']} runs)"
    )
    yield f"again: hvsim run {shlex.quote(found['file'])} --lockstep"
