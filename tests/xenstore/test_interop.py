"""Debian's own xenstore tools, unmodified, against our store."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator

import pytest

from hvsim.commands.xenstore_tools import main
from hvsim.xs.blocking import connect
from tests.support import optional
from tests.xenstore.lone import lone_store

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lone_store(tmp_path_factory.mktemp("store")) as path:
        yield path


def tool(store_path: str, name: str, *argv: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [optional.program(f"xenstore-{name}"), *argv],
        env={**os.environ, "XENSTORED_PATH": store_path},
        capture_output=True,
        text=True,
        timeout=30,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def ours(store_path: str, *argv: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(argv, store_path) == 0
    return out.getvalue()


def test_the_tools_give_the_recorded_texts(store_path: str) -> None:
    """Recording 80, section xenstore."""
    assert tool(store_path, "write", "/t1/a/b/c", "hello") == (0, "", "")
    tree = '/t1/a = ""   (n0)\n/t1/a/b = ""   (n0)\n/t1/a/b/c = "hello"   (n0)\n'
    assert tool(store_path, "ls", "-f", "-p", "/t1") == (0, tree, "")
    assert tool(store_path, "chmod", "/t1/a", "n1", "r2", "b3", "w4")[2] == (
        "xenstore-chmod: Error occurred setting permissions on '/t1/a': No such file or directory\n"
    )
    assert tool(store_path, "chmod", "-r", "/t1/a", "n0", "r2") == (0, "", "")
    assert tool(store_path, "ls", "-f", "-p", "/t1")[1] == tree.replace("(n0)", "(n0,r2)")
    assert tool(store_path, "read", "/t1/a/b/c") == (0, "hello\n", "")
    assert tool(store_path, "list", "/t1") == (0, "a\n", "")
    assert tool(store_path, "exists", "/t1/a") == (0, "", "")
    assert tool(store_path, "exists", "/nosuch")[0] == 1
    assert tool(store_path, "read", "/nosuch")[0] == 1
    assert tool(store_path, "rm", "/nosuch") == (0, "", "")
    assert tool(store_path, "rm", "/nosuch/deeper")[0] == 1
    assert tool(store_path, "rm", "/")[0] == 1
    for path in ("//", "/a//b", "/trailing/", "/bad path", "/" + "a" * 3200):
        assert tool(store_path, "write", path, "x")[0] == 1
    assert tool(store_path, "write", "/toolong", "a" * 5000)[0] == 1
    assert tool(store_path, "write", "relative/path", "v")[0] == 0
    assert tool(store_path, "read", "/local/domain/0/relative/path") == (0, "v\n", "")
    assert tool(store_path, "watch", "-n", "1", "/nosuch/path") == (0, "/nosuch/path\n", "")
    assert tool(store_path, "watch", "-n", "1", "@introduceDomain")[:2] == (0, "@introduceDomain\n")
    assert tool(store_path, "watch", "bad path")[0] == 1
    assert tool(store_path, "rm", "/t1") == (0, "", "")
    assert tool(store_path, "exists", "/t1")[0] == 1


def test_a_directory_of_a_thousand(store_path: str) -> None:
    with connect(store_path) as store:
        names = [f"child-{number}" for number in range(1000)]
        for name in names:
            store.write(f"/many/{name}", "x")
    assert tool(store_path, "list", "/many")[1].split() == names


@pytest.mark.parametrize("options", [(), ("-f",), ("-p",), ("-f", "-p")])
def test_our_ls_prints_what_theirs_prints(store_path: str, options: tuple[str, ...]) -> None:
    with connect(store_path) as store:
        store.write("/look/quote", b'he"l\nlo\\')
        store.write("/look/binary", b"\x01\x07\x08\x7f\x80\xff\t\r")
        store.write("/look/" + "n" * 50, "y" * 60)
        store.write("/look/" + "m" * 90 + "/deep", "z")
        store.write("/look/empty/below", "")
        store.set_perms("/look/empty", ["b0", "r3"])
    assert ours(store_path, "ls", *options) == tool(store_path, "ls", *options)[1]


def test_our_write_and_read_escape_as_theirs(store_path: str) -> None:
    for text in (r"a\tb\nc\rd\\e", r"\x41\x7", r"\101\7\60x", r'q"uote', r"\z"):
        assert main(["write", "/ours", text], store_path) == 0
        assert tool(store_path, "write", "/theirs", text)[0] == 0
        with connect(store_path) as store:
            assert store.read_bytes("/ours") == store.read_bytes("/theirs")
        assert ours(store_path, "read", "/ours") == tool(store_path, "read", "/theirs")[1]
