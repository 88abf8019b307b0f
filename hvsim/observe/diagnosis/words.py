"""The findings for a reader: what `hvsim doctor` prints.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hvsim.lab.states import state_name
from hvsim.observe.diagnosis.cause import SLOW, STUCK, counted, listed
from hvsim.speak import table

if TYPE_CHECKING:
    from hvsim.observe.diagnosis.rows import DoctorRow, FindingRow, PairRow

_HEAD: Final = ("DEVICE", "SERVED BY", "STATES", "UNANSWERED", "NOT TAKEN", "GRANTS", "WHOSE TURN")


def summary(findings: list[FindingRow], about: str = "") -> str:
    """All in one sentence, or what has to do with one domain, device or process."""
    kinds = {name: [one for one in findings if one["severity"] == name] for name in (STUCK, SLOW)}
    if not any(kinds.values()):
        notes = f"; {counted(len(findings), 'thing')} to know" if findings else ""
        if about:
            return f"nothing keeps {about} waiting, and it keeps nobody waiting{notes}"
        return f"nobody waits in vain: every device goes on, every process runs{notes}"
    said = [
        f"{counted(len(found), 'cause')} {'keeps' if len(found) == 1 else 'keep'} {whom}"
        for found, whom in (
            (kinds[STUCK], "somebody waiting in vain"),
            (kinds[SLOW], "somebody waiting for a while"),
        )
        if found
    ]
    return listed(said)


def lines(row: DoctorRow, whole: bool) -> Iterator[str]:
    """What is said; with the table of devices and the evidence when the *whole* is wanted."""
    yield f"lab {row['lab']}: {row['text']}"
    for finding in row["findings"]:
        yield ""
        mark = "" if finding["severity"] == STUCK else f"({finding['severity']}) "
        yield f"{mark}{finding['text']}."
        yield f"    Cure: {finding['cure']}"
        if whole:
            yield from (f"    {one}" for one in finding["evidence"])
    sick = [one for one in row["devices"] if whole or one["whose_turn"] != "nobody"]
    if sick:
        yield ""
        yield from table(_HEAD, [_cells(one) for one in sick])
        yield from (f"{one['device']}: {bell}" for one in sick for bell in one["bells"])
    if row["unknown"]:
        yield f"not everything could be told: {row['unknown']}"


def _cells(pair: PairRow) -> tuple[object, ...]:
    states = "/".join(_state(pair[half]) for half in ("frontend_state", "backend_state"))
    slots = f" of {pair['slots']}" if pair["slots"] else ""
    taken = pair["untaken_requests"], pair["untaken_answers"]
    return (
        pair["device"],
        pair["backend"],
        states,
        "?" if pair["unanswered"] is None else f"{pair['unanswered']}{slots}",
        "?" if None in taken else f"{taken[0]} requests, {taken[1]} answers",
        pair["grants"],
        pair["whose_turn"],
    )


def _state(number: int | None) -> str:
    return state_name(None if number is None else str(number))
