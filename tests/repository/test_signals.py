"""A process is signalled through a pidfd: a bare number may be somebody else's by now."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: file -> why a number is right there.
ALLOWED = {
    "hvsim/spawn/executable.py": "a group has no pidfd; our own child leads it, not waited for",
    "hvsim/spawn/exec_process.py": "our own children, whom nobody else waits for",
    "benchmarks/net/reference.py": "our own child, not waited for",
}
BARE = {"kill", "killpg"}


def bare_signals(source: str) -> list[int]:
    """Lines that call os.kill or os.killpg, or import them from os."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in BARE:
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            found += [node.lineno for name in node.names if name.name in BARE]
    return found


def test_every_signal_goes_by_pidfd() -> None:
    """Popen's own methods are not meant: they ask first whether the child was waited for."""
    found = {
        str(path.relative_to(ROOT))
        for folder in ("hvsim", "domains", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if bare_signals(path.read_text(encoding="utf-8"))
    }
    assert found == set(ALLOWED)


def test_the_check_sees_one() -> None:
    assert bare_signals("import os\nos.kill(1, 9)\n") == [2]
    assert bare_signals("from os import killpg\n") == [1]
    assert bare_signals("process.kill()\nos.getpid()\n") == []
