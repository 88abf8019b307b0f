"""The table of ledger kinds knows every line that is written, and none besides."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hvsim.hypervisor.kinds import COUNTED, FIELDS, KINDS

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {name.partition(".")[0] for name in KINDS if "." in name}
WRITERS = ("record", "refuse", "_note", "note")


Written = tuple[str, str, set[str]]
"""Place, kind, fields of its own."""


@cache
def looked_through() -> tuple[list[Written], set[str]]:
    """Each place that names a kind where it writes a line; every string of the host that may be
    a kind."""
    places: list[Written] = []
    constants: set[str] = set()
    for top in ("hvsim", "domains"):
        for file in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                places += _written(file, node)
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and file.name != "kinds.py"
                ):
                    constants.add(node.value)
    return places, constants


def _written(file: Path, node: ast.AST) -> Iterator[Written]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        first = node.args[0] if node.args else None
        if node.func.attr in WRITERS and isinstance(first, ast.Constant):
            kind = str(first.value)
            if kind.partition(".")[0] in ROOMS or kind == "fault":
                own = {word.arg for word in node.keywords if word.arg}
                yield f"{file.relative_to(ROOT)}:{node.lineno}", kind, own


def test_what_is_written_is_in_the_table() -> None:
    found, _ = looked_through()
    assert [(place, kind) for place, kind, _ in found if kind not in KINDS] == []
    assert len(found) > 25


def test_fields_of_a_line_are_in_the_table() -> None:
    odd = [
        (place, kind, own - KINDS[kind].fields.keys())
        for place, kind, own in looked_through()[0]
        if kind in KINDS and not own <= KINDS[kind].fields.keys()
    ]
    assert odd == []


def test_what_is_in_the_table_is_written() -> None:
    assert {*KINDS, *COUNTED} - looked_through()[1] == set()


def test_a_kind_is_told_in_words() -> None:
    assert all(kind.text for kind in KINDS.values())
    assert not {*FIELDS} & {name for kind in KINDS.values() for name in kind.fields}
