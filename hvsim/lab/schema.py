"""The published JSON Schema of the lab file, and its verdicts in words.

`schema.json` (draft 2020-12) is in the package: editors and other tools can use the very file
that `hvsim validate` uses.
"""

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema

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
    text = files("hvsim.lab").joinpath("schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def place_of(path: tuple[str | int, ...], data: Any) -> str:
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


def _step(here: Any, step: str | int) -> Any:
    try:
        return here[step]
    except (KeyError, IndexError, TypeError):
        return None


def _name_of(table: Any) -> str:
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
    data: Any, file: str, locator: Locator, of: dict[str, Any] | None = None
) -> Iterator[Problem]:
    """Every breach of the schema (*of*, or that of lab files) in `data`, as problems of `file`."""
    validator = jsonschema.Draft202012Validator(schema() if of is None else of)
    for error in validator.iter_errors(data):
        path = tuple(error.absolute_path)
        for key, text, remedy in _explain(error):
            at = (*path, key) if key else path
            yield Problem(file, locator.line(at), place_of(path, data), text, remedy)


def _explain(error: jsonschema.ValidationError) -> Iterator[tuple[str, str, str]]:
    rule = error.validator
    value: Any = error.validator_value
    instance: Any = error.instance
    if rule == "additionalProperties" and isinstance(error.schema, dict):
        known = sorted(error.schema.get("properties", {}))
        for key in instance:
            if key not in known:
                yield key, f"unknown key {key!r}", did_you_mean(key, known)
    elif rule == "required":
        for key in value:
            if key not in instance:
                yield "", f"the key {key!r} is missing", f"add {key} = ..."
    elif rule == "type":
        yield "", f"must be {_KIND.get(str(value), str(value))}, is {instance!r}", ""
    elif rule == "enum":
        allowed = [str(item) for item in value]
        text = f"{instance!r} is not one of {', '.join(allowed)}"
        near = nearest(str(instance), allowed)
        yield "", text, f"did you mean {near!r}?" if near is not None else ""
    elif rule == "pattern":
        yield "", f"{instance!r} is not of the right form", _FORM.get(str(value), f"form: {value}")
    elif rule in ("minimum", "maximum"):
        word = "at least" if rule == "minimum" else "at most"
        yield "", f"must be {word} {value}, is {instance}", ""
    elif rule == "minItems":
        yield "", "the list is empty", "add at least one entry"
    elif rule == "minLength":
        yield "", "is empty", "give a value"
    elif rule == "anyOf" and error.path and error.path[-1] == "used_by":
        yield "", f"{instance!r} does not fit", "name a domain, or a list of domains"
    elif rule == "anyOf":
        text = "the key 'type' is missing"
        yield "", text, 'add type = "NAME", or package = "NAME" of one that declares it'
    elif rule == "oneOf":
        yield "", f"{instance!r} does not fit", _one_of(error)
    else:
        yield "", error.message, ""


def _one_of(error: jsonschema.ValidationError) -> str:
    options: Any = error.validator_value
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
