"""Keys of a lab file and of a scenario, from their JSON Schemas."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs.made.text import code, page, table
from hvsim.faults.scenario.schema import schema as schema_of_scenarios
from hvsim.lab.schema import schema

Node = Mapping[str, Any]
_WORDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a table",
}


def keys() -> str:
    """The page of keys."""
    return page(
        "Keys of a lab file",
        "A lab file is TOML. `hvsim validate LAB` says what is wrong with one, `hvsim validate "
        "--schema` prints the JSON Schema that this page is made of.",
        *_of(schema()),
    )


def _of(whole: Node) -> list[str]:
    """The tables of a schema."""
    parts = []
    for path, node in tables(whole, whole, ""):
        rows = [
            (
                code(name),
                _type(whole, of),
                _default(whole, of),
                of.get("description", _told(whole, of)),
            )
            for name, of in _resolved(whole, node)["properties"].items()
        ]
        needed = _resolved(whole, node).get("required", [])
        must = f"Needed: {', '.join(map(code, needed))}." if needed and path else ""
        said = node.get("description") or _resolved(whole, node).get("description", "")
        head = f"## `{path}`" if path else "## Tables"
        parts += [head, *(text for text in (said, must) if text)]
        parts.append(table(("key", "is", "default", "meaning"), rows))
    return parts


def of_scenarios() -> str:
    """The page of a scenario's keys; those of a lab file are on the page before."""
    whole = schema_of_scenarios()
    known = schema()["properties"]
    own = {name: of for name, of in whole["properties"].items() if name not in known}
    words = whole["$defs"]["timed_fault"]
    timed = {**words, "properties": {key: words["properties"][key] for key in ("when", "target")}}
    defs = {**whole["$defs"], "timed_fault": timed}
    return page(
        "Keys of a scenario",
        "A scenario is TOML: a lab, what its clients do, what is broken when, and what must hold. "
        "`hvsim run SCENARIO` runs it, `hvsim validate SCENARIO` says what is wrong with one, "
        "`hvsim validate --schema scenario` prints the JSON Schema that this page is made of. "
        "Every table of a [lab file](lab-file.md) may stand in it, and the words of "
        "`[[phase.fault]]` are those of [every fault](faults.md).",
        *_of({**whole, "properties": own, "$defs": defs}),
    )


def tables(whole: Node, node: Node, path: str) -> Iterator[tuple[str, Node]]:
    """Each table of keys, with its name as TOML writes it."""
    inner = _resolved(whole, node)
    if inner.get("properties"):
        yield path, node
    for name, of in inner.get("properties", {}).items():
        deeper = _resolved(whole, of)
        below = f"{path.strip('[]')}.{name}".strip(".")
        if deeper.get("type") == "array":
            item = _resolved(whole, deeper["items"])
            if item.get("properties"):
                yield from tables(
                    whole,
                    {**deeper["items"], "description": deeper.get("description", "")},
                    f"[[{below}]]",
                )
        for one in (of, *deeper.get("oneOf", ()), *deeper.get("anyOf", ())):
            if _resolved(whole, one).get("properties"):
                yield from tables(whole, one, f"[{below}]")


def _resolved(whole: Node, node: Node) -> Node:
    while "$ref" in node:
        found: Node = whole
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = {**found, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _told(whole: Node, node: Node) -> str:
    return str(_resolved(whole, node).get("description", "-"))


def _default(whole: Node, node: Node) -> str:
    value = _resolved(whole, node).get("default")
    return "-" if value is None else code(json.dumps(value))


def _type(whole: Node, node: Node) -> str:
    inner = _resolved(whole, node)
    if "enum" in inner:
        return " or ".join(code(json.dumps(value)) for value in inner["enum"])
    if "const" in inner:
        return code(json.dumps(inner["const"]))
    for word in ("oneOf", "anyOf"):
        if word in inner:
            return " or ".join(dict.fromkeys(_type(whole, one) for one in inner[word]))
    kind = inner.get("type")
    if kind == "array":
        return f"a list of: {_type(whole, inner['items'])}" if "items" in inner else "a list"
    if isinstance(kind, list):
        return " or ".join(_WORDS[one] for one in kind)
    low, high = inner.get("minimum"), inner.get("maximum")
    bounds = "" if low is None else f" from {low}" + ("" if high is None else f" to {high}")
    return _WORDS.get(str(kind), "anything") + bounds
