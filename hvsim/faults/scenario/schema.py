"""The JSON Schema of scenario files: its own part, and that of the lab file's tables."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from hvsim.faults.of_lab import with_words
from hvsim.lab.schema import schema as lab_schema


@cache
def schema() -> dict[str, Any]:
    """The whole: a scenario may hold every table of a lab file."""
    text = files("hvsim.faults.scenario").joinpath("schema.json").read_text(encoding="utf-8")
    own: dict[str, Any] = json.loads(text)
    lab = with_words(lab_schema())
    fault = lab["$defs"]["fault"]
    when = own["$defs"]["act"]["properties"]["when"]
    timed = {**fault, "properties": {**fault["properties"], "when": when}}
    return {
        **own,
        "properties": {**own["properties"], **lab["properties"]},
        "$defs": {**lab["$defs"], **own["$defs"], "timed_fault": timed},
    }
