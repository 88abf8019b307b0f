"""The public Python API, from the sources: signatures and docstrings, nothing imported."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from docs.made.text import block, page

ROOT: Final = Path(__file__).resolve().parents[2]
_SECTION: Final = re.compile(r"(Args|Attributes|Raises|Returns|Yields): *(.*)")
_ITEM: Final = re.compile(r"( {4})([\w, .*]+): +(\S.*)")
DOMAIN: Final = (
    *(
        "domain",
        "vcpu",
        "timers",
        "events",
        "grants",
        "mapper",
        "memory",
        "ring",
        "console",
        "hypercall",
    ),
)
"""What of hvsim.domain a program may rely on."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def domain() -> str:
    """What a program in a domain stands on."""
    return page(
        "Python: what a domain stands on",
        "A guest's program is a function `main(dom)`; `dom` is a `Domain`. Names that begin with "
        "an underscore, and modules that are not here, may change without notice.",
        *_modules([*(f"hvsim/domain/{name}.py" for name in DOMAIN), "hvsim/domain/xenbus"]),
        *_modules(["hvsim/errors.py"]),
    )


def drivers() -> str:
    """Both halves of the drivers, and the kit that they are made of."""
    halves = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "hvsim/drivers").glob("*/*.py"))
        if file.stem in ("front", "back") and file.parent.name != "split"
    ]
    return page(
        "Python: drivers and their kit",
        "Both halves of a driver mirror each other. `hvsim.drivers.split` is the kit that both "
        "stand on, and that a driver of your own is made of.",
        *_modules(["hvsim/drivers/split", *halves]),
    )


def store() -> str:
    """Clients of the store."""
    return page("Python: clients of the store", *_modules(["hvsim/xs"]))


def _modules(places: Iterable[str]) -> Iterator[str]:
    for place in places:
        path = ROOT / place
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            if not file.stem.startswith("_"):
                yield from module(file)


def module(file: Path) -> Iterator[str]:
    """A module: its docstring, and each public class and function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    known = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_")
    ]
    if not known:
        return
    yield f"## {'.'.join(file.relative_to(ROOT).with_suffix('').parts)}"
    yield from docstring(tree)
    for node in known:
        if isinstance(node, ast.ClassDef):
            yield from _class(node)
        else:
            yield f"### {node.name}()"
            yield block(_signature(node), "python")
            yield from docstring(node)


def _class(node: ast.ClassDef) -> Iterator[str]:
    bases = ", ".join(map(ast.unparse, node.bases))
    yield f"### {node.name}"
    yield block(f"class {node.name}({bases})" if bases else f"class {node.name}", "python")
    yield from docstring(node)
    for inner in node.body:
        if isinstance(inner, Function) and _is_public(inner):
            yield block(_signature(inner), "python")
            yield from docstring(inner)


def _is_public(method: Function) -> bool:
    """A way in, and what is to be known of how an object is made."""
    if method.name == "__init__":
        return bool(method.args.args[1:] or method.args.kwonlyargs)
    return not method.name.startswith("_")


def _signature(node: Function) -> str:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    marks = [f"@{mark.id}\n" for mark in node.decorator_list if isinstance(mark, ast.Name)]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{''.join(marks)}{word} {node.name}({ast.unparse(node.args)}){returns}"


def docstring(node: ast.Module | ast.ClassDef | Function) -> Iterator[str]:
    """A docstring as paragraphs and lists."""
    lines = (ast.get_docstring(node) or "").split("\n")
    while lines:
        line = lines.pop(0)
        section = _SECTION.fullmatch(line)
        if section:
            yield f"*{section[1]}:* {_escaped(section[2])}".rstrip()
            body = _indented(lines)
            yield "\n".join(_list(body))
        elif line.startswith("    "):
            yield block("\n".join(one[4:] for one in [line, *_indented(lines)]).rstrip())
        elif line:
            paragraph = [line]
            while lines and lines[0] and not lines[0].startswith("    "):
                if _SECTION.fullmatch(lines[0]):
                    break
                paragraph.append(lines.pop(0))
            yield _escaped("\n".join(paragraph)).replace("::\n", ":\n").removesuffix("::")


def _indented(lines: list[str]) -> list[str]:
    """Take the lines off the front that are indented, or empty."""
    found = []
    while lines and (not lines[0] or lines[0].startswith("    ")):
        found.append(lines.pop(0))
    return found


def _list(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        item = _ITEM.fullmatch(line)
        if item:
            yield f"- `{item[2]}`: {_escaped(item[3])}"
        elif line.strip():
            yield f"  {_escaped(line.strip())}"


def _escaped(text: str) -> str:
    """No HTML, and no emphasis but that of a *name*, outside of what is code."""
    text = re.sub(r":\w+:(?=`)", "", text)  # roles of reStructuredText
    parts = re.split(r"(``.*?``|`[^`\n]*`|(?<!\w)\*[\w ,]+\*(?!\w))", text, flags=re.DOTALL)
    return "".join(
        part if number % 2 else re.sub(r"([*<\[\]#$])", r"\\\1", part)
        for number, part in enumerate(parts)
    )
