"""``python -m benchmarks [GROUP ...]``: measure, print the tables, fail when a row is below its
bound.  docs/benchmarks.md says how to read them."""

import argparse
import json
import sys
import textwrap
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    bench_block,
    bench_commands,
    bench_guests,
    bench_net,
    bench_paths,
    bench_qdisk,
    bench_recovery,
    bench_store,
    machine,
)
from benchmarks.compare import compare
from benchmarks.group import Group
from benchmarks.needs import LeftOut
from benchmarks.rows import Plan, Row, left_out, table

WIDTH = 98
"""Of the texts between the tables."""

GROUPS: dict[str, Group] = {
    module.GROUP.name: module.GROUP
    for module in (
        bench_paths,
        bench_block,
        bench_store,
        bench_net,
        bench_qdisk,
        bench_recovery,
        bench_commands,
        bench_guests,
    )
}


def main(argv: Sequence[str]) -> int:
    """Exit status: 0, 1 when a row is below its bound or a group failed, 2 for wrong usage."""
    wanted = _arguments(argv)
    if wanted.compare:
        return compare(*(json.loads(Path(path).read_text("utf-8")) for path in wanted.compare))
    chosen = _chosen(wanted.groups or list(GROUPS), wanted.only)
    if wanted.list:
        _list(chosen)
        return 0
    if not any(plans for _, plans in chosen):
        print(f"no row has {wanted.only!r} in its name; --list shows them", file=sys.stderr)
        return 2
    return _run(chosen, as_json=wanted.json, save=wanted.save)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="hvsim against references that are run in the same minute",
        epilog="docs/benchmarks.md says what each row compares and how to read it",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with TEXT in their names")
    parser.add_argument("--list", action="store_true", help="the rows, without measuring them")
    parser.add_argument("--json", action="store_true", help="every figure, instead of the tables")
    parser.add_argument("--save", metavar="FILE", help="the same into a file, beside the tables")
    parser.add_argument("--compare", nargs=2, metavar="FILE", help="the verdicts of two runs")
    wanted = parser.parse_args(argv)
    unknown = [name for name in wanted.groups if name not in GROUPS]
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return wanted


def _chosen(names: Sequence[str], only: str) -> list[tuple[Group, Sequence[Plan]]]:
    """The groups, each with its rows whose whole name has `only` in it."""
    return [
        (group, [plan for plan in group.plans if only in f"{name}: {plan.title}"])
        for name, group in ((name, GROUPS[name]) for name in names)
    ]


def _list(chosen: Sequence[tuple[Group, Sequence[Plan]]]) -> None:
    for group, plans in chosen:
        if plans:
            print(f"{_about(group)}\n")
            print("".join(f"  {group.name}: {plan.title}\n" for plan in plans))


def _run(chosen: Sequence[tuple[Group, Sequence[Plan]]], *, as_json: bool, save: str | None) -> int:
    begun = time.monotonic()
    about = machine.describe()
    quiet = machine.look()
    about["quiet"] = vars(quiet) | {"warning": quiet.warning}
    if not as_json:
        print(_head(about), flush=True)
    found: list[dict[str, Any]] = []
    failing: list[str] = []
    for group, plans in chosen:
        if not plans:
            continue
        print(f"measuring {group.name} ...", file=sys.stderr, flush=True)
        rows = _measure(group, plans, failing)
        found += [row.data(group.name) for row in rows]
        failing += [f"{group.name}: {row.plan.title}" for row in rows if row.fails]
        if not as_json:
            print(_told(group, rows), flush=True)
    about["seconds"] = round(time.monotonic() - begun)
    about["end"] = machine.look().warning
    result = {"about": about, "rows": found}
    if save:
        Path(save).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result) if as_json else _end(about, failing), flush=True)
    return 1 if failing else 0


def _measure(group: Group, plans: Sequence[Plan], failing: list[str]) -> Sequence[Row]:
    """The rows of a group; one that fails does not end the others."""
    try:
        return group.measure(plans)
    except LeftOut as reason:
        return [Row(plan, left_out=str(reason)) for plan in plans]
    except Exception as error:  # whatever it was, the rows of other groups are still worth having
        traceback.print_exc()
        failing.append(f"{group.name}: {type(error).__name__}: {error}")
        return [Row(plan, left_out=f"the group failed: {error}") for plan in plans]


def _head(about: dict[str, Any]) -> str:
    lines = [
        about["machine"],
        f"{about['kernel']}, {about['python']}, compiled helper: {about['helper']}",
        f"load average {' '.join(f'{load:.2f}' for load in about['load'])}, "
        f"{about['quiet']['busy']:.2f} processors busy without us",
        "two figures with a slash between them: hvsim's / the reference's, medians of all rounds",
    ]
    if about["quiet"]["warning"]:
        lines.append(f"WARNING: {about['quiet']['warning']}; these figures are smoke")
    return "\n".join(lines) + "\n"


def _about(group: Group) -> str:
    return f"{group.name}: {group.title}\n\n{_indented(textwrap.fill(group.compares, WIDTH))}"


def _told(group: Group, rows: Sequence[Row]) -> str:
    parts = [f"{_about(group)}\n"]
    if any(not row.left_out for row in rows):
        parts.append(_indented(table(rows)) + "\n")
    reasons = left_out(rows)
    if reasons:
        parts.append("".join(f"  {line}\n" for line in reasons))
    return "\n".join(parts)


def _end(about: dict[str, Any], failing: Sequence[str]) -> str:
    lines = [f"WARNING: at the end {about['end']}"] if about["end"] else []
    took = f"{about['seconds']} s"
    lines.append(
        f"below their bounds ({took}):" if failing else f"no row is below its bound ({took})"
    )
    return "\n".join([*lines, *(f"  {name}" for name in failing)])


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
