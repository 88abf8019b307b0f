"""Rules of faults in a lab file, ``[[fault]]``: checked with it, in force before a domain runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hvsim.errors import HvsimError
from hvsim.faults.catalogue import FAMILIES, WHEN
from hvsim.faults.grammar import Draft, of_table
from hvsim.lab.modules import missing
from hvsim.lab.problems import LabFileError, Problem

if TYPE_CHECKING:
    from hvsim.lab.model import Lab
    from hvsim.lab.rundir import RunDir


def drafts(lab: Lab) -> list[Draft]:
    """The rules of *lab*.  Raises: LabFileError with every one that makes no sense."""
    found: list[Draft] = []
    problems = []
    for number, fault in enumerate(lab.faults, 1):
        try:
            found.append(of_table(fault.words))
            wrong = nowhere(found[-1], lab)
        except HvsimError as refused:
            wrong = str(refused), ""
        if wrong is not None:
            place = f"fault number {number}"
            problems.append(Problem(str(lab.file), fault.line, place, *wrong))
    if problems:
        raise LabFileError(problems)
    return found


def nowhere(draft: Draft, lab: Lab) -> tuple[str, str] | None:
    """What keeps the process that a rule is about from finding the function of ours that it names
    (``own=``), and the remedy; None for nothing."""
    own = draft.settings.get("own")
    if not isinstance(own, str):
        return None
    own_place = (one.directory for one in lab.domains if one.name == draft.target)
    found = missing(own, (lab.file.parent, *own_place), "function ")
    return None if found is None else (f"own: {found[0]}", found[1])


def entering(lab: Lab) -> Callable[[RunDir, bool], None] | None:
    """What puts them in force in a lab whose domains are made one after the other (`bring_up`'s
    before_run): each as soon as all are there whom it names.  None for a lab without any.

    Raises: LabFileError; what it returns raises HvsimError.
    """
    pending = drafts(lab)

    def enter_some(run: RunDir, last: bool) -> None:
        from hvsim.faults.rules import enter, ready

        now = pending if last else ready(run, pending)
        enter(run, now)
        pending[:] = [draft for draft in pending if draft not in now]

    return enter_some if pending else None


def with_words(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of lab files, its faults with every word there is."""
    fault = schema["$defs"]["fault"]
    words: dict[str, dict[str, Any]] = {}
    choices: dict[str, list[str]] = {}
    for family in FAMILIES:
        for word in (*family.faults, *family.settings):
            key, _, choice = word.key.partition("=")
            words.setdefault(key, {"description": word.text})
            if choice:
                choices.setdefault(key, []).append(choice)
    for word in WHEN:
        words[word.key] = {"description": f"of every fault: {word.text}"}
    for key, found in choices.items():
        words[key] = {"description": "what happens to it", "enum": found}
    properties = {**fault["properties"], **words}
    return {**schema, "$defs": {**schema["$defs"], "fault": {**fault, "properties": properties}}}
