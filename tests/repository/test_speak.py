"""Nobody prints by himself: what a person sees passes ``hvsim.speak``, which makes it printable."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAST_THE_DOOR = {
    "hvsim/speak.py": "the door",
    "hvsim/surroundings.py": "makes the streams",
    "hvsim/cli.py": "sees that all has left the process",
    "hvsim/commands/parser.py": "asks whether it is help or a complaint",
    "hvsim/commands/xenstore_tools.py": "closes it as well; asks how wide the screen is",
    "hvsim/commands/capture.py": "frames, to a program",
    "hvsim/commands/logs.py": "all bytes of a console, to a file or a program",
    "hvsim/observe/console.py": "a console is a terminal on purpose",
    "hvsim/spawn/child.py": "sets its own log up",
    "hvsim/xenstore/daemon/live_update.py": "empties the buffers of its own log",
    "hvsim/lab/warm_start.py": "a fork that has become a process of the lab: into its log",
    "domains/guests/verify.py": "a program of its own, whose reader is a test or the demo",
}
"""What touches the streams, and why it may."""
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
_PRINTERS = {"print_exc", "print_exception", "print_stack", "print_usage", "print_help"}


def faults(source: str) -> list[str]:
    """What in *source* writes to a person, or could."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "print":
                found.append(f"line {node.lineno}: print()")
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "sys":
                if node.attr in _STREAMS:
                    found.append(f"line {node.lineno}: sys.{node.attr}")
            elif node.attr in _PRINTERS:
                found.append(f"line {node.lineno}: {node.attr}()")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            to_person = isinstance(first, ast.Constant) and first.value in (1, 2)
            if node.func.attr == "write" and to_person:
                found.append(f"line {node.lineno}: a write to descriptor 1 or 2")
            if node.func.attr == "ArgumentParser" and ast.unparse(node.func.value) == "argparse":
                found.append(f"line {node.lineno}: a parser that prints by itself")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "print('x')",
        "import sys\nsys.stderr.write('x')",
        "import os\nos.write(1, b'x')",
        "import traceback\ntraceback.print_exc()",
        "import argparse\nargparse.ArgumentParser()",
    ],
)
def test_each_way_is_seen(source: str) -> None:
    assert len(faults(source)) == 1


def test_nobody_else_prints() -> None:
    processes = {
        "hvsim/hypervisor/__main__.py": "arguments from us",
        "hvsim/spawn/spawner.py": "arguments from us",
        "hvsim/xenstore/__main__.py": "started by hand, says nothing of a domain's",
    }
    touching = set()
    for folder in ("hvsim", "domains"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            found = faults(file.read_text(encoding="utf-8"))
            if name in processes:
                found = [fault for fault in found if "parser" not in fault]
            if found and name not in PAST_THE_DOOR:
                pytest.fail(f"{name}: {'; '.join(found)}: use hvsim.speak")
            if found:
                touching.add(name)
    assert touching == set(PAST_THE_DOOR), "a name in the list that needs no place in it"
