"""The end of the story of a run, in lines for a reader.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hvsim.faults.scenario.rows import RunActRow, RunRow


def lines(row: RunRow) -> Iterator[str]:
    """What was done, what clients were told, what held, and how to see it again."""
    yield ""
    rules = [one for one in row["acts"] if one["rule"] is not None]
    for one in rules:
        yield f"rule {one['rule']}: {one['text']}: {_came(one)}"
    for client in row["clients"]:
        yield f"{client['domain']}: told {client['told']} times ({client['history']})"
    yield ""
    for check in row["checks"]:
        mark = "held  " if check["held"] else "FAILED" if check["counts"] else "(not) "
        judged = f" ({check['judged']})" if check["judged"] else ""
        yield f"{mark}  {check['name']}{judged}"
        yield from (f"          {problem}" for problem in check["problems"])
    yield ""
    verdict = "everything held" if row["ok"] else "NOT everything held"
    yield f"{row['scenario']}: {verdict}; {row['seconds']:.1f} s, seed {row['seed']}"
    yield f"again: {row['replay']}"


def _came(one: RunActRow) -> str:
    if one["fired"] is None:
        over = "nobody could look what came of it" if one["ended"] is None else "its time was over"
        return one["trouble"] or over
    said = f", last: {one['said'][-1]}" if one["said"] else ""
    return f"{fired(one['fired'])}{said}"


def fired(times: int) -> str:
    """How often a rule did."""
    return "fired once" if times == 1 else f"fired {times} times"
