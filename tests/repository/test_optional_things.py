"""Whatever a machine may lack is asked for in one way: through tests/support/optional.py.

Found are, in the tests: looking for programs, headers, modules and devices by other means; commands
that begin with a program which the file never asked for (as an argument vector, after ``--``, in a
script for ``sh -c``, in a lab's ``exec =``).  What is not seen here is seen by the run on a bare
machine (``make test-bare``).
"""

import ast
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.optional import DEVICES, MODULES, PROGRAMS

TESTS = Path(__file__).resolve().parents[1]
THE_WAY = TESTS / "support" / "optional.py"

LOOKING = {
    "shutil.which",
    "pytest.importorskip",
    "importlib.util.find_spec",
    "hvsim.devnodes.library.node_library",
    "hvsim.lab.real_daemons.find",
    "hvsim.toolstack.devices.qemu.program",
    "hvsim.lab.images.QEMU_IMG",
}
"""What finds something optional, in Python's library or in ours."""
PATHS = re.compile(
    r"/usr/include\b|/usr/lib/xen|\bxen-[4*][^ ]*\*|/dist-packages\b|^/usr/libexec/xen"
    + "".join(f"|^{re.escape(path)}$" for path in DEVICES)
)
EXEC = re.compile(r"exec\s*=\s*\[\s*[\"']([^\"']+)")
"""A domain's program in a lab file."""
COMMAND_START = re.compile(r"(?:^|[;&|(`\n]|\b(?:exec|then|do|else|if|while|until)\s)\s*([\w./-]+)")
ALLOWED = {
    # It tests the finder itself, on daemons that it makes up.
    "lab/test_check_daemons.py": {"hvsim.lab.real_daemons.find"},
    # Dask is an extra of ours, not of the machine.
    "explore/test_explore.py": {"pytest.importorskip"},
}


def names_of(tree: ast.Module) -> dict[str, str]:
    """What each name of a file stands for, as far as it was imported: ``which`` -> shutil.which."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """``shutil.which`` of ``shutil.which`` and of an imported ``which``; "" of anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (base := dotted(node.value, names)):
        return f"{base}.{node.attr}"
    return ""


def texts(nodes: list[ast.expr]) -> list[str | None]:
    """The literal texts of a row of expressions, None for what is none; of an f-string its head."""
    found: list[str | None] = []
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [p.value if isinstance(p, ast.Constant) else "{}" for p in node.values]
            found.append("".join(map(str, parts)))
        else:
            plain = isinstance(node, ast.Constant) and isinstance(node.value, str)
            found.append(node.value if plain else None)  # type: ignore[attr-defined]
    return found


def commands(row: list[str | None], whole: bool) -> Iterator[str]:
    """The programs that a row of words begins; *whole*: the row is an argument vector."""
    if whole and row and row[0] is not None:
        yield row[0]
    for before, word in itertools.pairwise(row):
        if word is None:
            continue
        if before == "--":
            yield word
        elif before == "-c":
            yield from COMMAND_START.findall(word)


def rows(tree: ast.Module, names: dict[str, str]) -> Iterator[tuple[ast.expr, list[str | None]]]:
    """Every row of words, and the expression that it stands in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            yield node, texts(node.elts)
        elif isinstance(node, ast.Call):
            yield node, texts(node.args)


def vectors(tree: ast.Module, names: dict[str, str]) -> set[int]:
    """The lists and tuples that are handed to subprocess, by ``id``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = dotted(node.func, names)
            if name.startswith(("subprocess.", "os.exec", "os.spawn", "os.posix_spawn")):
                found |= {id(arg) for arg in node.args if isinstance(arg, ast.List | ast.Tuple)}
    return found


def docstrings(tree: ast.Module) -> set[int]:
    """The constants that only say something, by ``id``."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def findings(source: str, allowed: frozenset[str] | set[str] = frozenset()) -> list[str]:
    """What is wrong with a file of tests: one line each."""
    tree = ast.parse(source)
    names = names_of(tree)
    said, handed = docstrings(tree), vectors(tree, names)
    asked = {
        arg.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ".optional." in f".{dotted(node.func, names)}"
        for arg in node.args
        if isinstance(arg, ast.Constant)
    }
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names)
            if name in LOOKING and name not in allowed:
                found.append((node.lineno, f"{name} looks for it by itself"))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names]
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            found += [(node.lineno, f"import {name}") for name in modules if name in MODULES]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if id(node) in said or text in asked or text in allowed:
                continue
            if PATHS.search(text):
                found.append((node.lineno, f"{text!r} is the path of something optional"))
            found += [
                (node.lineno, f"exec = {name!r} was not asked for")
                for name in EXEC.findall(text)
                if name in PROGRAMS and name not in asked
            ]
    for expression, row in rows(tree, names):
        for word in commands(row, id(expression) in handed):
            name = word.rpartition("/")[2]
            if name in PROGRAMS and name not in asked:
                found.append((expression.lineno, f"the command {name!r} was not asked for"))
    return [f"{line}: {text}" for line, text in sorted(set(found))]


def files() -> list[Path]:
    """Every file of the tests but the one that is the way."""
    return sorted(path for path in TESTS.rglob("*.py") if path != THE_WAY)


def test_everything_optional_is_asked_for_in_one_way() -> None:
    found = []
    for path in files():
        within = str(path.relative_to(TESTS))
        if path == Path(__file__).resolve():
            continue
        source = path.read_text(encoding="utf-8")
        found += [f"tests/{within}:{line}" for line in findings(source, ALLOWED.get(within, set()))]
    assert found == [], "ask through tests/support/optional.py:\n" + "\n".join(found)
    assert len(files()) > 150


@pytest.mark.parametrize(
    "source",
    [
        "import shutil\nfound = shutil.which('xl')",
        "from shutil import which as w\nfound = w('xl')",
        "import pytest\nxs = pytest.importorskip('pyxs')",
        "import pyxs",
        "from xen.lowlevel.xs import xs",
        "from hvsim.devnodes.library import node_library\nnode_library()",
        "from hvsim.toolstack.devices import qemu\nqemu.program()",
        "from hvsim.lab.images import QEMU_IMG\nprint(QEMU_IMG)",
        "from pathlib import Path\nHEADERS = Path('/usr/include/xen')",
        "from pathlib import Path\nXL = sorted(Path('/usr/lib').glob('xen-4.*/bin/xl'))",
        "open('/dev/net/tun')",
        "import subprocess\nsubprocess.run(['qemu-img', 'create'])",
        "import subprocess as s\ns.Popen(('/usr/bin/xenstore-ls', '-f'))",
        "import subprocess\nsubprocess.run(['sh', '-c', 'cd /; curl -s http://far'])",
        "lab.ok('exec', 'one', '--', 'xl', 'list')",
        "lab.ok('exec', 'one', '--', 'sh', '-c', f'iperf3 -c {far}')",
        "argv = ['exec', 'near', '--', 'ping', name]",
        'LAB = \'[[domain]]\\nprogram = { exec = ["iperf3", "-s"] }\'',
    ],
)
def test_a_use_by_other_means_is_seen(source: str) -> None:
    assert findings(source), source


@pytest.mark.parametrize(
    "source",
    [
        "'''shutil.which, /usr/include/xen and /dev/net/tun in words'''",
        "lab.ok('xl', 'list')\nlab.run('xl', 'create', '-c', 'xl.cfg')",
        "from tests.support import optional\nlab.ok('exec', 'a', '--', optional.program('xl'))",
        "from tests.support import optional\noptional.program('ip')\nok('exec', 'a', '--', 'ip')",
        "from tests.support import optional\noptional.device('/dev/net/tun')",
        "import subprocess\nsubprocess.run(['sh', '-c', 'echo xl; exit 1'])",
    ],
)
def test_what_is_asked_for_or_only_said_is_left_alone(source: str) -> None:
    assert findings(source) == []


WITHOUT_THE_MARK = """
import pytest
from tests.support import optional
def test_without():
    optional.program("xl")
@pytest.fixture
def xl():
    return optional.find_program("xl")
def test_by_a_fixture(xl):
    pass
@pytest.mark.interop
def test_with(xl):
    pass
"""


def test_a_test_that_asks_without_the_mark_fails(tmp_path: Path) -> None:
    """Whether the thing is there or not."""
    (tmp_path / "test_it.py").write_text(WITHOUT_THE_MARK)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = interop: asks\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.optional",
         "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", tmp_path / "pytest.ini", tmp_path],
        cwd=TESTS.parent, env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "1 failed, 1 passed, 1 error" in done.stdout
    assert "test_without asks for xl, which a machine may lack: mark it" in done.stdout
