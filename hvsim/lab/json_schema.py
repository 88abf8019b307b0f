"""JSON Schema (draft 2020-12) as far as the schema of lab files needs it.  Pure.

A whole implementation costs a process more time to import than a lab file takes to be read and
checked.  This one knows what stands in ``KEYWORDS``; ``tests/lab/test_json_schema.py`` holds it
against one, and the schema against it.

Source: JSON Schema Core and Validation, draft 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

Path = tuple[str | int, ...]
Schema = Mapping[str, Any]


class Breach(NamedTuple):
    """A rule of a schema that a value breaks.

    Attributes:
        path: where the value is; of a key with a bad name, the table that has it.
        rule: the keyword.
        wanted: what the schema says behind it; of "required" the one key that is missing.
        found: the value.
        schema: where the keyword stands.
    """

    path: Path
    rule: str
    wanted: Any
    found: Any
    schema: Schema


def breaches(schema: Schema, value: Any) -> Iterator[Breach]:
    """Every rule of *schema* that *value* breaks, those of its parts included."""
    return _in(schema, schema, value, ())


def _in(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    for rule, wanted in schema.items():
        if rule in _PLAIN:
            if not _PLAIN[rule](wanted, value):
                yield Breach(path, rule, wanted, value, schema)
        elif rule in _APPLY:
            yield from _APPLY[rule](root, schema, value, path)


def _fits(root: Schema, schema: Schema, value: Any) -> bool:
    return next(_in(root, schema, value, ()), None) is None


# -- rules about a value itself; each holds for a value of another type ----------------------------


def _same(one: Any, other: Any) -> bool:
    """To Python true is 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _has_type(wanted: str | list[str], value: Any) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    return any(_TYPES[name](value) for name in names)


_PLAIN: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "type": _has_type,
    "enum": lambda wanted, value: any(_same(one, value) for one in wanted),
    "const": _same,
    "pattern": lambda wanted, value: not isinstance(value, str) or bool(re.search(wanted, value)),
    "minLength": lambda wanted, value: not isinstance(value, str) or len(value) >= wanted,
    "minItems": lambda wanted, value: not isinstance(value, list) or len(value) >= wanted,
    # Written so that NaN breaks neither.
    "minimum": lambda wanted, value: not (_is_number(value) and value < wanted),
    "maximum": lambda wanted, value: not (_is_number(value) and value > wanted),
}


# -- rules that apply other schemas ----------------------------------------------------------------


def _ref(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    there: Any = root
    for word in schema["$ref"].removeprefix("#/").split("/"):
        there = there[word]
    yield from _in(root, there, value, path)


def _required(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    if isinstance(value, dict):
        for key in schema["required"]:
            if key not in value:
                yield Breach(path, "required", key, value, schema)


def _properties(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    if isinstance(value, dict):
        for key, its in schema["properties"].items():
            if key in value:
                yield from _in(root, its, value[key], (*path, key))


def _additional(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    its = schema["additionalProperties"]
    extra = unknown_keys(schema, value)
    if its is False:
        if extra:
            yield Breach(path, "additionalProperties", its, value, schema)
    else:
        for key in extra:
            yield from _in(root, its, value[key], (*path, key))


def unknown_keys(schema: Schema, value: Any) -> list[str]:
    """The keys of a table that *schema* has no property for."""
    known = schema.get("properties", {})
    return [key for key in value if key not in known] if isinstance(value, dict) else []


def _names(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    for key in value if isinstance(value, dict) else ():
        yield from _in(root, schema["propertyNames"], key, path)


def _items(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from _in(root, schema["items"], item, (*path, index))


def _one_of(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    if sum(_fits(root, one, value) for one in schema["oneOf"]) != 1:
        yield Breach(path, "oneOf", schema["oneOf"], value, schema)


def _any_of(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    if not any(_fits(root, one, value) for one in schema["anyOf"]):
        yield Breach(path, "anyOf", schema["anyOf"], value, schema)


def _if(root: Schema, schema: Schema, value: Any, path: Path) -> Iterator[Breach]:
    if _fits(root, schema["if"], value):
        yield from _in(root, schema["then"], value, path)


_APPLY: Final[Mapping[str, Callable[[Schema, Schema, Any, Path], Iterator[Breach]]]] = {
    "$ref": _ref,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "items": _items,
    "oneOf": _one_of,
    "anyOf": _any_of,
    "if": _if,
}
KEYWORDS: Final = frozenset(
    (
        *(*_PLAIN, *_APPLY, "then", "$defs"),
        *("$schema", "$id", "title", "description", "default", "format"),
    )
)
"""What a schema for this module may hold; those of the last line say nothing of a value."""
