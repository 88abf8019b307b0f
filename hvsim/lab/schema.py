"""The published JSON Schema of the lab file, and its verdicts in words.

`schema.json` (draft 2020-12) is in the package: editors and other tools can use the very file
that `hvsim validate` uses.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hvsim.lab.json_schema import Breach, Schema, breaches, unknown_keys
from hvsim.lab.locate import Locator
from hvsim.lab.near_miss import did_you_mean, nearest
from hvsim.lab.problems import Problem

_KIND = {
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
    "number": "a number",
}


@cache
def schema() -> dict[str, Any]:
    """The schema as a mapping."""
    text = Path(__file__).with_name("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def place_of(path: tuple[str | int, ...], data: object) -> str:
    """`("domain", 1, "restart")` as a reader says it: domain 'storage', restart."""
    words: list[str] = []
    here = data
    for index, step in enumerate(path):
        here = _step(here, step)
        if isinstance(step, int):
            name = _name_of(here)
            singular = words.pop() if words else ""
            if index == 1 and name:
                words.append(f"{singular} {name!r}")
            elif index == 1:
                words.append(f"{singular} number {step + 1}")
            else:
                words.append(f"{singular} entry {step + 1}")
        else:
            words.append(f"[{step}]" if step == "lab" and index == 0 else str(step))
    return ", ".join(words)


def _step(here: object, step: str | int) -> object:
    if isinstance(here, dict):
        return here.get(step)
    if isinstance(here, list) and isinstance(step, int) and step < len(here):
        return here[step]
    return None


def _name_of(table: object) -> str:
    if not isinstance(table, dict):
        return ""
    overrides = table.get("overrides")
    named = overrides.get("name") if isinstance(overrides, dict) else None
    for value in (
        *(table.get("name"), named, table.get("config"), table.get("path")),
        table.get("type"),
    ):
        if isinstance(value, str):
            return value
    return ""


def schema_problems(
    data: object, file: str, locator: Locator, of: Schema | None = None
) -> Iterator[Problem]:
    """Every breach of the schema in `data`, as problems of `file`.

    Args:
        of: the schema; that of lab files without one.
    """
    for breach in breaches(schema() if of is None else of, data):
        for key, text, remedy in _explain(breach):
            at = (*breach.path, key) if key else breach.path
            yield Problem(file, locator.line(at), place_of(breach.path, data), text, remedy)


def _explain(breach: Breach) -> Iterator[tuple[str, str, str]]:
    """(the key that it is about, what is wrong, the remedy)."""
    wanted, found = breach.wanted, breach.found
    match breach.rule:
        case "additionalProperties":
            known = sorted(breach.schema.get("properties", {}))
            for key in unknown_keys(breach.schema, found):
                yield key, f"unknown key {key!r}", did_you_mean(key, known)
        case "required":
            yield "", f"the key {wanted!r} is missing", f"add {wanted} = ..."
        case "type":
            yield "", f"must be {_KIND.get(str(wanted), str(wanted))}, is {found!r}", ""
        case "enum":
            allowed = [str(item) for item in wanted]
            text = f"{found!r} is not one of {', '.join(allowed)}"
            near = nearest(str(found), allowed)
            yield "", text, f"did you mean {near!r}?" if near is not None else ""
        case "pattern":
            form = _FORM.get(str(wanted), f"form: {wanted}")
            yield "", f"{found!r} is not of the right form", form
        case "minimum":
            yield "", f"must be at least {wanted}, is {found}", ""
        case "maximum":
            yield "", f"must be at most {wanted}, is {found}", ""
        case "minItems":
            yield "", "the list is empty", "add at least one entry"
        case "minLength":
            yield "", "is empty", "give a value"
        case "anyOf" if breach.path[-1:] == ("used_by",):
            yield "", f"{found!r} does not fit", "name a domain, or a list of domains"
        case "anyOf":
            text = "the key 'type' is missing"
            yield "", text, 'add type = "NAME", or package = "NAME" of one that declares it'
        case "oneOf":
            yield "", f"{found!r} does not fit", _one_of(wanted)


def _one_of(options: list[dict[str, Any]]) -> str:
    kinds = {option.get("type") for option in options}
    if any("$ref" in option for option in options):
        return (
            'write module:function, as in "domains.guests.idle:main", '
            'or { exec = ["COMMAND", "WORD", ...] }'
        )
    if kinds == {"integer", "string"}:
        return 'write a number, or a text such as "64M" or "2G"'
    return "write a text, a whole number, or a list of texts"


_FORM = {
    "^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$": (
        "write module:function, as in domains.guests.idle:main"
    ),
    "^[a-z][a-z0-9_]{0,31}$": "use small letters, digits and '_', at most 32",
    "^[A-Za-z0-9_-]{1,64}$": "use letters, digits, '_' and '-', at most 64",
    "^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$": "use letters, digits, '.', '_' and '-', at most 32",
    "^[0-9]{1,3}([.][0-9]{1,3}){3}$": "write an IPv4 address, as in 10.0.0.1",
    "^[^/\\s]{1,64}$": "use at most 64 characters, no blank and no '/'",
}
