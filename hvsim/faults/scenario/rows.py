"""What a run was, as data: what ``hvsim run --json`` prints, and what every report is made of."""

from typing import Annotated, TypedDict


class RunPhaseRow(TypedDict):
    """A phase as it went."""

    name: Annotated[str, "what it is called"]
    text: Annotated[str, "what a reader should know"]
    begun: Annotated[float, "seconds after the lab was ready"]
    ended: Annotated[float, "seconds after the lab was ready"]


class RunActRow(TypedDict):
    """Something that was done to the lab."""

    phase: Annotated[str, "in which"]
    what: Annotated[str, "fault, kill, stall, resume or look"]
    text: Annotated[str, "the rule, or the step"]
    begun: Annotated[float, "seconds after the lab was ready"]
    ended: Annotated[float | None, "of a rule: when it was taken away"]
    rule: Annotated[int | None, "of a rule: its number"]
    fired: Annotated[int | None, "of a rule: how often"]
    said: Annotated[list[str], "what came of it, or what the doctor said"]
    trouble: Annotated[str, "why it could not be done"]


class RunCheckRow(TypedDict):
    """What a checker said."""

    name: Annotated[str, "what was checked"]
    held: Annotated[bool, "whether nothing was wrong"]
    counts: Annotated[bool, "whether it counts (`unchecked` of the scenario)"]
    judged: Annotated[str, "what was looked at"]
    problems: Annotated[list[str], "what was wrong"]


class RunClientRow(TypedDict):
    """A client, and what it was told."""

    domain: Annotated[str, "where it runs"]
    history: Annotated[str, "commits, registers, secrets or lines"]
    told: Annotated[int, "how often it was told something"]
    pulse: Annotated[list[int], "the same, in a hundred equal parts of the run"]


class RunRow(TypedDict):
    """`hvsim run --json`"""

    ok: Annotated[bool, "whether every check that counts held"]
    scenario: Annotated[str, "its name"]
    title: Annotated[str, "what it shows"]
    text: Annotated[str, "what a reader should know"]
    seed: Annotated[int, "of everything that was drawn"]
    replay: Annotated[str, "the line that runs it again"]
    up_seconds: Annotated[float, "until the lab was ready"]
    seconds: Annotated[float, "from then on until it was judged"]
    phases: Annotated[list[RunPhaseRow], "in order"]
    acts: Annotated[list[RunActRow], "in order"]
    clients: Annotated[list[RunClientRow], "those whose history was kept"]
    checks: Annotated[list[RunCheckRow], "safety, then liveness"]
