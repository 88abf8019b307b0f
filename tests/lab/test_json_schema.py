"""Our few keywords of JSON Schema say what a whole implementation says, of the schema of labs."""

import math
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvsim.lab.json_schema import KEYWORDS, breaches
from hvsim.lab.schema import schema

_WORDS = (
    *("", "a", "lab_1", "xen.x:main", "64M", "2 GiB", "1K", "10.0.0.1", "a/b", "raw", "direct"),
    *("destroy", "guest", "always", "all", "builtin", "x" * 70, "-x", "V-RNG", "\n"),
)
_PLAIN = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from([0, 1, -1, 64, 512, 2**31, 2**70, 0.5, 1.0, math.inf, math.nan]),
    st.booleans(),
)


def _keys(part: Any) -> Iterator[str]:
    """The names of all properties."""
    if isinstance(part, dict):
        yield from part.get("properties", {})
        for below in part.values():
            yield from _keys(below)
    elif isinstance(part, list):
        for below in part:
            yield from _keys(below)


def _subschemas(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield part
    for key in ("properties", "$defs"):
        for below in part.get(key, {}).values():
            yield from _subschemas(below)
    for key in ("items", "additionalProperties", "propertyNames", "if", "then"):
        if isinstance(part.get(key), dict):
            yield from _subschemas(part[key])
    for key in ("oneOf", "anyOf"):
        for below in part.get(key, ()):
            yield from _subschemas(below)


def _values(part: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that nearly fit: right ones, those of another type, further and missing keys."""
    if "$ref" in part:
        return _values(schema()["$defs"][part["$ref"].rpartition("/")[2]])
    near: list[st.SearchStrategy[Any]] = [_PLAIN]
    if "enum" in part:
        near.append(st.sampled_from(part["enum"]))
    for one in (*part.get("oneOf", ()), *part.get("anyOf", ())):
        near.append(_values(one))
    if "items" in part:
        near += [st.lists(_values(part["items"]), max_size=3)] * 3
    if part.get("type") == "object":
        its = {key: _values(one) for key, one in part.get("properties", {}).items()}
        known = st.fixed_dictionaries({}, optional=its)
        further = st.dictionaries(st.sampled_from([*_WORDS, *_ALL_KEYS]), _PLAIN, max_size=2)
        near += [st.builds(lambda some, more: {**more, **some}, known, further)] * 4
    return st.one_of(near)


_ALL_KEYS = sorted(set(_keys(schema())))


@settings(max_examples=150, deadline=None)
@given(_values(schema()))
@example({"image": [{"path": "a", "scratch": True}], "domain": [{}]})
@example({"image": [{"path": "a", "scratch": 1}], "domain": [{}]})
@example(
    {"domain": [{}], "device": [{"used_by": "a", "served_by": "b", "backend_keys": {"a/b": 1}}]}
)
@example({"domain": [{}], "device": [{"used_by": 3, "served_by": "b", "type": "c"}]})
@example({"domain": [{"vcpus": True}, {"vcpus": 0, "config": ""}]})
def test_what_a_whole_implementation_says(value: Any) -> None:
    """Seen red without each rule in turn, and with ``true`` taken for a number."""
    theirs = sorted(
        (list(map(str, error.absolute_path)), str(error.validator), repr(error.instance))
        for error in jsonschema.Draft202012Validator(schema()).iter_errors(value)
    )
    ours = sorted(
        (list(map(str, one.path)), one.rule, repr(one.found)) for one in breaches(schema(), value)
    )
    assert ours == theirs


def test_the_schema_says_nothing_that_is_not_checked() -> None:
    """Red with a ``maxLength`` in schema.json."""
    found = {key for part in _subschemas(schema()) for key in part}
    assert found <= KEYWORDS


@pytest.mark.parametrize("bad", [True, 1.5, "1", None, [1]])
def test_true_is_no_number(bad: Any) -> None:
    assert [one.rule for one in breaches({"type": "integer"}, bad)] == ["type"]
