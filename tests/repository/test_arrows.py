"""Arrows that import-linter does not see: names of programs in strings, and circles.

The order of the rooms is the list of layers in pyproject.toml, which import-linter holds for every
import, those for types and those within functions included.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
#: "module", "module:function", and what stands behind -m.
_PROGRAM = re.compile(r"(?:hvsim|domains)(?:\.\w+)+(?::\w+)?")
#: Strings that name a room above, and why they may.
MAY: dict[tuple[str, str], str] = {}


def layers() -> list[list[str]]:
    """The rooms, the highest first; those of one line stand side by side."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    lines = next(c["layers"] for c in contracts if c["id"] == "rooms")
    return [[name.strip(" ()") for name in line.split("|")] for line in lines]


def height(module: str) -> int:
    """How high the room of a module stands; the lowest layer is 0."""
    order = layers()
    for level, line in enumerate(reversed(order)):
        if any(module == room or module.startswith(room + ".") for room in line):
            return level
    raise AssertionError(f"{module} is in no room: pyproject.toml, the contract 'rooms'")


def programs(source: str) -> Iterator[tuple[int, str]]:
    """Each string that names a module of ours: line and module.  Texts for people are none."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _PROGRAM.fullmatch(node.value)
        ):
            yield node.lineno, node.value.partition(":")[0]


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def sources() -> Iterator[tuple[str, str]]:
    """Module and text of every file of the host."""
    for top in ("hvsim", "domains"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, file.read_text(encoding="utf-8")


def test_each_form_is_seen() -> None:
    text = 'a = "hvsim.domain"\nb = ["-m", "hvsim.spawn.spawner"]\nc = "domains.dom0:main"\n'
    assert {name for _, name in programs(text)} == {
        "hvsim.domain",
        "hvsim.spawn.spawner",
        "domains.dom0",
    }
    assert height("hvsim.lab.up") > height("hvsim.toolstack.xl.main") > height("hvsim.abi.errno")


def test_no_string_names_a_program_of_a_room_above() -> None:
    wrong = [
        f"{module}, line {line}: {name}"
        for module, text in sources()
        if module != "hvsim"
        for line, name in programs(text)
        if is_module(name) and height(name) > height(module) and (module, name) not in MAY
    ]
    assert not wrong, "\n".join(wrong)


def circles() -> list[list[str]]:
    """Modules that reach each other by imports, however late or for types only."""
    graph = grimp.build_graph("hvsim", "domains", cache_dir=None)
    below = {name: graph.find_upstream_modules(name) for name in graph.modules}
    found = {
        tuple(sorted({name, *(other for other in reach if name in below[other])}))
        for name, reach in below.items()
        if name in reach or any(name in below[other] for other in reach)
    }
    return [list(circle) for circle in sorted(found)]


def test_there_is_no_circle() -> None:
    wrong = circles()
    assert not wrong, "\n".join(" <-> ".join(circle) for circle in wrong)


@pytest.mark.parametrize("late", [False, True])
def test_a_circle_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    (tmp_path / "hvsim").mkdir()
    (tmp_path / "domains").mkdir()
    (tmp_path / "hvsim" / "__init__.py").touch()
    (tmp_path / "domains" / "__init__.py").touch()
    (tmp_path / "hvsim" / "one.py").write_text("from hvsim import two\n")
    back = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hvsim import one\n"
    if late:
        back = "def f():\n    from hvsim import one\n"
    (tmp_path / "hvsim" / "two.py").write_text(back)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith(("hvsim", "domains"))]:
        monkeypatch.delitem(sys.modules, name)
    assert circles() == [["hvsim.one", "hvsim.two"]]
