"""What runs in the domains of a lab file, and what they may open: is it there?"""

import ast
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from hvsim.lab.check.files import file_fault
from hvsim.lab.model import Domain
from hvsim.lab.near_miss import did_you_mean
from hvsim.lab.problems import Fault
from hvsim.spawn.sandbox.root import PATH

SOURCE_MAX = 1 << 22
"""Bytes of a module that are looked through."""


def program_faults(domains: Sequence[tuple[int, Domain]], directory: Path) -> Iterator[Fault]:
    """Every fault; *directory* is that of the lab file."""
    for index, domain in domains:
        yield from _program(("domain", index, "program"), domain, directory)
        for path, mode in domain.files:
            yield from _file(("domain", index, "files"), path, mode)


def _program(place: tuple[str | int, ...], domain: Domain, directory: Path) -> Iterator[Fault]:
    if domain.program is None:
        return
    if "exec" in domain.args and shutil.which(domain.args["exec"][0], path=PATH) is None:
        yield (
            place,
            f"there is no program {domain.args['exec'][0]!r} in {PATH}",
            "install it, or give its whole path",
        )
    module, colon, function = domain.program.partition(":")
    if not colon or not function:
        yield (
            place,
            f"{domain.program!r} is not of the form module:function",
            "write it as in domains.guests.idle:main",
        )
        return
    found = find_module(module, (directory, domain.directory))
    if found is None:
        yield (
            place,
            f"there is no module {module!r}",
            "put it next to the lab file, or name one of domains.guests",
        )
        return
    names = _names(found)
    if names is not None and function not in names:
        yield (
            place,
            f"the module {module!r} has no function {function!r}",
            did_you_mean(function, sorted(names)),
        )


def _file(place: tuple[str | int, ...], path: str, mode: str) -> Iterator[Fault]:
    fault = file_fault(path)
    if fault is not None:
        yield (place, *fault)
    elif not os.access(path, os.R_OK if mode == "r" else os.R_OK | os.W_OK):
        yield (
            place,
            f"{path} may not be opened for {'reading' if mode == 'r' else 'writing'}",
            "give yourself the right to it",
        )


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


def _names(spec: ModuleSpec) -> set[str] | None:
    """What a module's top level binds; None when only running it could tell."""
    if not spec.origin or not spec.origin.endswith(".py"):
        return None
    try:
        with open(spec.origin, "rb") as file:
            tree = ast.parse(file.read(SOURCE_MAX))
    except (OSError, SyntaxError, ValueError):
        return None
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
    return None if "__getattr__" in names else names
