"""Whether two runs of the benchmarks say the same: ``--compare ONE.json OTHER.json``.

They contradict each other where a row is ok in one and below its bound in the other.  A row that
moved onto the line, or off it, is named as well, and is no contradiction.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.rows import ABOVE, BELOW, OK

_FAILS = (BELOW, ABOVE)


def verdicts(run: Mapping[str, Any]) -> dict[str, str]:
    """The verdict of every judged row that was measured, by its whole name."""
    return {
        f"{row['group']}: {row['name']}" + (f", against {row['against']}" * bool(row["against"])): (
            row["verdict"]
        )
        for row in run["rows"]
        if row["verdict"]
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """What differs, in words, and whether it is a contradiction."""
    first, second = verdicts(one), verdicts(other)
    for name in first | second:
        was, now = first.get(name), second.get(name)
        if was == now:
            continue
        pair = f"{name}: {was or 'not judged'}, then {now or 'not judged'}"
        yield pair, (was == OK and now in _FAILS) or (now == OK and was in _FAILS)


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    """Print what differs; 1 when there is a contradiction, else 0."""
    found = list(differences(one, other))
    for text, contradiction in found:
        print(f"{'CONTRADICTION' if contradiction else 'moved'}: {text}")
    bad = sum(contradiction for _, contradiction in found)
    print(f"{len(verdicts(one))} and {len(verdicts(other))} judged rows, {bad} contradictions")
    return 1 if bad else 0
