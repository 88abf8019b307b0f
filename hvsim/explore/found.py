"""The scenario file that replays a failure: the text of the scenario, and how turns are taken."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hvsim.explore.job import Job
    from hvsim.faults.scenario.model import Scenario

MARK: Final = "# Found by `hvsim explore`."
_TAPE_SAYS: Final = (
    "# On the tape: [number of a choice of who is next, who was picked].  Any other choice is 0:",
    "# who has waited longest.",
)
_NO_TAPE_SAYS: Final = ("# It needs no special order: who has waited longest is always next.",)
_IN_A_LINE: Final = 8
_HEAD: Final = re.compile(r"""\s*\[\[?\s*([A-Za-z"'][^\]]*?)\s*\]\]?\s*(?:#.*)?""")
"""The line that begins a table of a scenario; a row of a tape, or of texts, is none."""
_FENCE: Final = re.compile(r"""\"{3}|'{3}""")
"""Where a text of several lines begins, and where it ends."""


def text_of(original: str, scenario: Scenario, job: Job, check: str, said: str, file: str) -> str:
    """The file's text.

    Args:
        original: text of the file that was explored; what an earlier search has added goes.
        job: the run that fails.
        check, said: what failed, and its first sentence.
        file: as the file is to be called.
    """
    lines = [
        f"{MARK}  This fails:",
        f"#   {_plain(check)}",
        *([f"#     {_plain(said)}"] if said else []),
        "# Replay it, as often as you like:",
        f"#   hvsim run {_plain(shlex.quote(file), None)} --lockstep",
        *_left_out(scenario, job),
        *((_TAPE_SAYS if job.tape else _NO_TAPE_SAYS) if job.order == "tape" else ()),
        "[lockstep]",
        f"seed = {job.seed}",
        f'order = "{job.order}"',
        *(_tape(job) if job.order == "tape" else ()),
    ]
    if without := scenario.without | job.without:
        lines.append(f"without = [{', '.join(str(one + 1) for one in sorted(without))}]")
    return "\n".join([_bare(original), "", *lines, ""])


def _bare(original: str) -> str:
    """Without what an earlier search has added, or anybody's [lockstep].  What somebody has written
    behind that stays."""
    kept = []
    inside = within = False  # the search's own, and a text of several lines
    for line in original.split("\n"):
        if not within:
            head = _HEAD.fullmatch(line)
            if head is not None:
                inside = head[1].strip("\"'") == "lockstep"
            elif line.startswith(MARK):
                inside = True
        if within or not line.lstrip().startswith("#"):
            within ^= len(_FENCE.findall(line)) % 2 == 1
        if not inside:
            kept.append(line)
    return "\n".join(kept).rstrip("\n")


def _left_out(scenario: Scenario, job: Job) -> list[str]:
    acts = [(phase.name, act.text) for phase in scenario.phases for act in phase.acts]
    gone = sorted(scenario.without | job.without)
    told = [f"#   {one + 1}: {_plain(acts[one][0])}: {_plain(acts[one][1])}" for one in gone]
    return ["# It fails without these faults and steps (`without`):", *told] if told else []


def _tape(job: Job) -> list[str]:
    pairs = [f"[{number}, {choice}]" for number, choice in job.tape]
    if not pairs:
        return ["tape = []"]
    rows = [pairs[at : at + _IN_A_LINE] for at in range(0, len(pairs), _IN_A_LINE)]
    return ["tape = [", *(f"  {', '.join(row)}," for row in rows), "]"]


def _plain(text: str, most: int | None = 300) -> str:
    """In a comment of TOML."""
    return "".join(one if one.isprintable() else " " for one in text)[:most]
