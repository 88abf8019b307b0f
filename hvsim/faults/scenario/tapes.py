"""The tape of a run in lockstep, as a file: `hvsim run --save-tape`, `--tape`.

    {"scenario": "storm.toml", "choices": 1204, "tape": {"17": 1, "230": 2}}

Of which file it is, how many choices there were, and those that were not the first option, by
number.  What is cut out of it is still a tape, so it may be edited by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from hvsim.errors import HvsimError
from hvsim.wire.typed import BadMessage, Message, read

_MADE: Final = "`hvsim run FILE --lockstep --save-tape` writes one"

_MOST: Final = (1 << 32) - 1
"""As in a scenario file."""


class TapeFile(Message, frozen=True):
    """What stands in the file.

    Attributes:
        scenario: the name of the file that was run; "" says nothing.
        choices: how many there were; says nothing to who plays it.
        tape: those that were not 0, by number.
    """

    tape: dict[int, int]
    choices: int = 0
    scenario: str = ""


def load(path: str, scenario: str = "") -> dict[int, int]:
    """The tape in a file.  Raises: HvsimError, which names the file and what is wrong.

    Args:
        scenario: the name of the file that is to be run, of which the tape must be, if it says.
    """
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        found = read(TapeFile, _numbered(raw))
    except OSError as failure:
        raise HvsimError(f"{path}: {failure.strerror}; {_MADE}") from None
    except (BadMessage, ValueError, RecursionError) as wrong:
        raise HvsimError(f"{path}: no tape of a run: {wrong}; {_MADE}") from None
    tape = found.tape
    if scenario and found.scenario not in ("", scenario):
        raise HvsimError(
            f"{path}: the tape of {found.scenario}, and this is {scenario}; to play "
            'it all the same, take "scenario" out of it'
        )
    if any(not (0 <= number <= _MOST and 0 <= which <= _MOST) for number, which in tape.items()):
        raise HvsimError(f"{path}: no tape of a run: a choice is a number from 0 to {_MOST}")
    return tape


def text(made: int, tape: dict[int, int], scenario: str = "") -> str:
    """What is written of a run of *made* choices of a scenario's file."""
    return json.dumps({"scenario": scenario, "choices": made, "tape": tape})


def _numbered(raw: object) -> object:
    """The same with numbers for keys, which JSON has as texts.  Raises: ValueError."""
    if isinstance(raw, dict) and isinstance(raw.get("tape"), dict):
        return {**raw, "tape": {int(number): which for number, which in raw["tape"].items()}}
    return raw
