"""Fields of --json, from the annotations of typed rows."""

import inspect
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    NotRequired,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from docs.made.text import code, page, table
from hvsim.commands.rows import JSON

_PLAIN = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    NoneType: "null",
    Any: "anything",
}


def fields() -> str:
    """The page of fields."""
    parts = []
    seen: dict[str, Any] = {}
    for verb, shape in JSON.items():
        parts += [f"## hvsim {' '.join(verb)} --json", f"Prints {said(shape)}."]
        for row in rows_of(shape):
            if row.__name__ not in seen:
                seen[row.__name__] = row
                parts.append(_row(row))
    return page(
        "Fields of --json",
        "What is not listed here is not promised. Texts are ASCII: other characters are escaped "
        "(`\\uNNNN`). A field with a `?` is not always there. Listings of `hvsim xl` that are not "
        "named print what xl prints, `--json` or not.",
        *parts,
    )


def rows_of(shape: Any) -> Iterator[Any]:
    """Every typed row in *shape*, those within others behind them."""
    if is_typeddict(shape):
        yield shape
        for hint in get_type_hints(shape).values():
            yield from rows_of(hint)
    else:
        for part in get_args(shape):
            yield from rows_of(part)


def said(shape: Any) -> str:
    """A type in words."""
    if is_typeddict(shape):
        return f"an object ({_link(shape)})"
    if shape in _PLAIN:
        return _PLAIN[shape]
    origin, parts = get_origin(shape), get_args(shape)
    if origin is list:
        return f"a list of: {said(parts[0])}"
    if origin is dict:
        return f"an object: {said(parts[0])} to {said(parts[1])}"
    if origin is UnionType or len(parts) > 1:
        return " or ".join(map(said, parts))
    raise TypeError(f"no words for {shape}")


def _link(row: Any) -> str:
    return f"[{row.__name__}](#{row.__name__.lower()})"


def _row(row: Any) -> str:
    told = inspect.getdoc(row) or ""
    lines = [
        (_name(name, hint), *_meaning(hint))
        for name, hint in get_type_hints(row, include_extras=True).items()
    ]
    return (
        f"### {row.__name__}\n\n{told.rstrip('.')}.\n\n{table(('field', 'is', 'meaning'), lines)}"
    )


def _name(name: str, hint: Any) -> str:
    return code(name) + ("?" if get_origin(hint) is NotRequired else "")


def _meaning(hint: Any) -> tuple[str, str]:
    if get_origin(hint) is NotRequired:
        (hint,) = get_args(hint)
    if get_origin(hint) is not Annotated:
        raise TypeError(f"{hint} says nothing of what it means")
    shape, text = get_args(hint)
    return said(shape), text
