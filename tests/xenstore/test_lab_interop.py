"""Debian's own programs, unmodified, against the store of a running lab (issue: shows 1)."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import optional
from tests.support.labs import TWO_TIER, Commands, commands, patient

pytestmark = pytest.mark.interop


class Programs:
    """Runs programs that find the store by XENSTORED_PATH."""

    def __init__(self, lab: Commands) -> None:
        self.lab = lab
        self.sockets = {
            who: lab.json("env", *(["--as", who] if who else []))["XENSTORED_PATH"]
            for who in ("", "storage", "web-frontend")
        }

    def run(
        self, argv: list[str], who: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run *argv*, acting as domain *who* ("" for dom0)."""
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "XENSTORED_PATH": self.sockets[who], **environment},
        )

    def tool(self, name: str, *argv: str, who: str = "") -> tuple[int, str, str]:
        """One of xenstore-utils: exit code, stdout, stderr."""
        path = optional.program(f"xenstore-{name}")
        done = self.run([path, *argv], who)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    with patient(TWO_TIER) as file, commands() as lab:
        lab.ok("up", "--quiet", str(file))
        yield Programs(lab)
        lab.ok("down")


def test_the_xenstore_tools(programs: Programs) -> None:
    tool = programs.tool
    code, out, err = tool("ls", "-f", "-p")
    assert (code, err) == (0, "")
    assert '/local/domain/2/name = "db-primary"   (n0,r2)' in out.splitlines()
    assert tool("write", "/t/a/b", "1", "/t/c", "two") == (0, "", "")
    assert tool("read", "/t/a/b") == (0, "1\n", "")
    assert tool("list", "/t") == (0, "a\nc\n", "")
    assert tool("exists", "/t/a") == (0, "", "")
    assert tool("exists", "/t/none")[0] == 1
    assert tool("chmod", "-r", "/t", "n0", "r3") == (0, "", "")
    assert tool("ls", "-f", "-p", "/t")[1] == (
        '/t/a = ""   (n0,r3)\n/t/a/b = "1"   (n0,r3)\n/t/c = "two"   (n0,r3)\n'
    )
    assert tool("watch", "-n", "1", "/t") == (0, "/t\n", "")
    assert tool("rm", "/t") == (0, "", "")
    assert tool("read", "/t")[0] == 1


def test_the_tools_act_as_a_domain(programs: Programs) -> None:
    """Red when ``SocketClient`` gives its connection domid 0."""
    tool = programs.tool
    assert tool("read", "name", who="web-frontend") == (0, "web-frontend\n", "")
    assert tool("write", "data/from-tool", "1", who="web-frontend") == (0, "", "")
    assert tool("read", "/local/domain/3/data/from-tool") == (0, "1\n", "")
    assert (
        tool("ls", "-f", "-p", "/local/domain/3/data", who="web-frontend")[1].count(
            'from-tool = "1"   (n3)'
        )
        == 1
    )
    assert tool("write", "name", "evil", who="web-frontend")[0] == 1
    assert tool("read", "/local/domain/2/name", who="web-frontend")[0] == 1
    assert tool("ls", "/", who="web-frontend")[0] == 1
    assert tool("chmod", "data/from-tool", "n2", who="web-frontend")[0] == 1
    assert tool("watch", "-n", "1", "name", who="web-frontend") == (0, "name\n", "")


def test_xenstore_control(programs: Programs) -> None:
    program = optional.xen_program("xenstore-control")

    def control(*argv: str, who: str = "") -> tuple[int, str]:
        done = programs.run([program, *argv], who)
        return done.returncode, done.stdout

    assert control("check") == (0, "OK\n")
    code, out = control("quota")
    assert code == 0
    assert out.splitlines()[:2] == [
        "Quota settings:",
        "nodes            :     1000 Nodes per domain",
    ]
    assert control("quota-soft")[1].splitlines()[1] == (
        "memory           :  2097152 Total Xenstore memory per domain (warning level)"
    )
    assert re.search(r"^Domain 3:\nnodes +: +[1-9]", control("quota", "3")[1])
    assert control("quota", "77")[0] == 3
    assert control("quota", "set", "nodes", "1001") == (0, "OK\n")
    assert "    1001 Nodes per domain" in control("quota")[1]
    assert control("quota", "set", "nodes", "1000") == (0, "OK\n")
    assert control("memreport") == (0, "OK\n")
    assert control("print", "hello") == (0, "OK\n")
    assert control("nosuch")[0] == 3
    assert "quota-soft" in control("help")[1]
    assert control("quota", who="web-frontend")[0] != 0
    ours = programs.lab.ok("xenstore", "control", "quota")
    assert ours == control("quota")[1]


def test_all_of_test_xenstore(programs: Programs) -> None:
    """The test program of xen-utils: its twelve tests."""
    done = programs.run([optional.xen_program("test-xenstore")])
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert all(re.search(r": \d+ ns$", line) for line in lines), lines


PYXS = """
import os, pyxs
with pyxs.Client(unix_socket_path=os.environ["XENSTORED_PATH"]) as client:
    client.write(b"/pyxs/a", b"1")
    assert client.read(b"/pyxs/a") == b"1"
    assert client.list(b"/pyxs") == [b"a"]
    assert client.exists(b"/pyxs/none") is False
    client.set_perms(b"/pyxs/a", [b"n0", b"r3"])
    assert client.get_perms(b"/pyxs/a") == [b"n0", b"r3"]
    assert client.get_domain_path(3) == b"/local/domain/3"
    assert client.is_domain_introduced(3)
    client.transaction()
    client.write(b"/pyxs/b", b"2")
    assert client.commit()
    assert client.read(b"/pyxs/b") == b"2"
    monitor = client.monitor()
    monitor.watch(b"/pyxs", b"token")
    assert next(monitor.wait()).path == b"/pyxs"
    client.delete(b"/pyxs")
    assert next(monitor.wait()).path == b"/pyxs"
    try:
        client.read(b"/pyxs")
    except pyxs.PyXSError as error:
        assert error.args[0] == 2
    else:
        raise AssertionError("read of what was deleted")
print("done")
"""


def test_pyxs(programs: Programs) -> None:
    python, environment = optional.module("pyxs")
    done = programs.run([python, "-c", PYXS], **environment)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


LOWLEVEL = """
import sys
from xen.lowlevel import xs
store = xs.xs()
store.write("0", "/low/a", "1")
assert store.read("0", "/low/a") == b"1"
assert store.ls("0", "/low") == ["a"]
assert store.read("0", "/low/none") is None
store.set_permissions("0", "/low/a", [{"dom": 0}, {"dom": 3, "read": True}])
assert [row["dom"] for row in store.get_permissions("0", "/low/a")] == [0, 3]
store.watch("/low", "token")
assert store.read_watch() == ("/low", "token")
tx = store.transaction_start()
store.mkdir(tx, "/low/dir")
assert store.transaction_end(tx) is True
assert store.read_watch() == ("/low/dir", "token")
assert store.get_domain_path(3) == "/local/domain/3"
store.unwatch("/low", "token")
store.rm("0", "/low")
assert store.ls("0", "/low") is None
store.close()
print("done")
"""


def test_xen_lowlevel_xs(programs: Programs) -> None:
    python, environment = optional.module("xen.lowlevel.xs")
    done = programs.run([python, "-c", LOWLEVEL], **environment)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_limit_that_bites_is_named_for_people(programs: Programs) -> None:
    """In ``hvsim events`` and ``hvsim xl dmesg``; red when ``Store.limit`` does nothing."""
    assert programs.tool("write", "data/big", "x" * 2048, who="storage")[0] == 1
    lines = programs.lab.ok("events").splitlines()
    [line] = [line for line in lines if " store.quota " in line]
    assert "d1: store quota 'node-size' (2048) reached: WRITE data/big refused, ENOSPC" in line
    assert "[store.quota] in the lab file" in line
    assert "store quota 'node-size'" in programs.lab.ok("xl", "dmesg")
    for _ in range(20):
        programs.tool("write", "data/big", "x" * 2048, who="storage")
    flood = programs.lab.ok("events").count("store quota 'node-size'")
    assert flood < 20


def test_the_door_goes_with_its_domain(programs: Programs) -> None:
    path = Path(programs.sockets["web-frontend"])
    assert path.is_socket()
    programs.lab.ok("xl", "destroy", "web-frontend")
    assert not path.exists()
    done = programs.lab.run("env", "--as", "web-frontend")
    assert done.returncode == 1
    assert "no domain 'web-frontend' (there are: Domain-0, db-primary, storage)" in done.stderr
