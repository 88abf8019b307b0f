"""Finding Python modules as a domain would, and what they define.  Looks at files, runs nothing."""

import ast
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from hvsim.lab.near_miss import did_you_mean

SOURCE_MAX = 1 << 22
"""Bytes of a module that are looked through."""


def find_module(module: str, extra: Sequence[Path]) -> ModuleSpec | None:
    """Where a domain would find `module`; None for nowhere.  Looks at files only and runs
    nothing."""
    path: list[str] | None = [*map(str, extra), *sys.path]
    first, *_ = parts = module.split(".")
    spec: ModuleSpec | None = None
    for part in parts:
        spec = PathFinder.find_spec(part, path)
        if spec is None and part is first:
            spec = find_spec(part)  # an editable install has a finder of its own
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return spec


def missing(
    reference: str, extra: Sequence[Path], what: str = "", or_else: str = "install it"
) -> tuple[str, str] | None:
    """What keeps a domain from finding what "module:name" names, and the remedy; None for nothing.

    Args:
        what: what the name is of, for people.
        or_else: what may be done besides putting the module next to the lab file.
    """
    module, _, name = reference.partition(":")
    found = find_module(module, extra)
    if found is None:
        return f"there is no module {module!r}", f"put it next to the lab file, or {or_else}"
    names = _names_of(found)
    if names is None or name in names:
        return None
    return f"the module {module!r} has no {what}{name!r}", did_you_mean(name, sorted(names))


def _names_of(spec: ModuleSpec) -> frozenset[str] | None:
    """What a module's top level binds; None when only running it could tell."""
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        with open(spec.origin, "rb") as file:
            return _bound(file.read(SOURCE_MAX))
    except (OSError, SyntaxError, ValueError):
        return None


@lru_cache(maxsize=64)  # the domains of a lab have few programs
def _bound(source: bytes) -> frozenset[str] | None:
    tree = ast.parse(source)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if any(alias.name == "*" for alias in node.names):
                return None
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return None if "__getattr__" in names else frozenset(names)
