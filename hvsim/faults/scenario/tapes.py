"""The tape of a run in lockstep, as a file: `hvsim run --save-tape`, `--tape`.

    {"choices": 1204, "tape": {"17": 1, "230": 2}}

How many choices there were, and those that were not the first option, by number.  What is cut out
of it is still a tape, so it may be edited by hand.
"""

from __future__ import annotations

import json
from pathlib import Path

from hvsim.errors import HvsimError
from hvsim.wire.typed import BadMessage, Message, read


class TapeFile(Message, frozen=True):
    """What stands in the file.

    Attributes:
        choices: how many there were; says nothing to who plays it.
        tape: those that were not 0, by number.
    """

    tape: dict[int, int]
    choices: int = 0


def load(path: str) -> dict[int, int]:
    """The tape in a file.  Raises: HvsimError, which names the file and what is wrong."""
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        tape = read(TapeFile, _numbered(raw)).tape
    except OSError as failure:
        raise HvsimError(f"{path}: {failure.strerror}") from None
    except BadMessage as wrong:
        raise HvsimError(f"{path}: no tape of a run: {wrong}") from None
    except ValueError as wrong:
        raise HvsimError(f"{path}: no tape of a run: {wrong}") from None
    if any(number < 0 or which < 0 for number, which in tape.items()):
        raise HvsimError(f"{path}: no tape of a run: a choice is a number from 0")
    return tape


def text(made: int, tape: dict[int, int]) -> str:
    """What is written of a run of *made* choices."""
    return json.dumps({"choices": made, "tape": tape})


def _numbered(raw: object) -> object:
    """The same with numbers for keys, which JSON has as texts.  Raises: ValueError."""
    if isinstance(raw, dict) and isinstance(raw.get("tape"), dict):
        return {**raw, "tape": {int(number): which for number, which in raw["tape"].items()}}
    return raw
