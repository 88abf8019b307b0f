"""The store as a real process: blocking and asynchronous clients, labels, trace, commands."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from hvsim.commands.xenstore_tools import main
from hvsim.xs import aio, requests
from hvsim.xs.blocking import connect
from hvsim.xs.client import StoreDisconnected, StoreError
from hvsim.xs.sockets import open_socket
from tests.xenstore.lone import lone_store


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with lone_store(tmp_path_factory.mktemp("store")) as path:
        yield path


def test_verbs_watches_and_transactions(store_path: str) -> None:
    seen: list[str] = []
    with connect(store_path) as one, connect(store_path) as two:
        one.watch("/verbs", seen.append)
        assert one.poll(5)
        two.transaction(lambda tx: tx.write_many({"/verbs/a": "1", "/verbs/b": "2"}), "two keys")
        while len(seen) < 3:
            assert one.poll(5)
        assert seen == ["/verbs", "/verbs/a", "/verbs/b"]
        assert one.read_many(["/verbs/a", "/verbs/none"]) == ["1", None]
        many = one.pipeline([requests.write(f"/verbs/many/{n}", "x" * 3000) for n in range(500)])
        assert many == [None] * 500
        big = one.pipeline([requests.read(f"/verbs/many/{n}") for n in range(500)])
        assert big == ["x" * 3000] * 500


def test_a_bad_frame_ends_that_client_only(store_path: str) -> None:
    with connect(store_path) as good, socket.socket(socket.AF_UNIX) as bad:
        bad.connect(store_path)
        bad.sendall(b"\xff" * 64)
        assert bad.recv(10) == b""
        good.write("/still", "here")


def test_a_client_that_does_not_read_harms_nobody(store_path: str) -> None:
    with connect(store_path) as good, socket.socket(socket.AF_UNIX) as bad:
        bad.connect(store_path)
        bad.setblocking(False)
        request = b"\1\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0/\0" * 1000
        refused = False
        for _ in range(10000):
            try:
                bad.send(request)
            except BlockingIOError:
                refused = True
                break
        assert refused
        for number in range(100):
            good.write("/busy", str(number))


def test_socket_is_private_and_second_store_is_refused(store_path: str) -> None:
    from hvsim.domain.vcpu import VCPU
    from hvsim.xenstore.daemon.server import SocketServer
    from hvsim.xenstore.rules.store import Store

    assert stat.S_IMODE(os.stat(store_path).st_mode) == 0o600
    vcpu = VCPU()
    with pytest.raises(OSError, match="Address already in use"):
        SocketServer(store_path, Store(), vcpu)
    vcpu.close()


def test_trace_names_the_client(store_path: str) -> None:
    trace = Path(store_path).parents[1] / "trace"
    with connect(store_path, "XL", "lab") as store:
        store.write("/traced", "value")
        with pytest.raises(StoreError):
            store.read("/traced/none")
        store.watch("/traced", lambda path: None)
        store.poll(5)
        store.read("/")
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    mine = [line for line in lines if line["label"] == "XL"]
    assert [(line["op"], line.get("path")) for line in mine[:5]] == [
        ("NOTE", None),
        ("WRITE", "/traced"),
        ("READ", "/traced/none"),
        ("WATCH", "/traced"),
        ("WATCH_EVENT", "/traced"),
    ]
    assert mine[1]["value"] == "value"
    assert mine[1]["reply"] == "OK"
    assert mine[2]["error"] == "ENOENT"
    assert {line["domid"] for line in mine} == {0}


@pytest.mark.asyncio
async def test_asynchronous_client(store_path: str) -> None:
    async with (
        contextlib.aclosing(await aio.connect(store_path, "XL")) as one,
        contextlib.aclosing(await aio.connect(store_path)) as two,
    ):
        watch = await one.watch("/aio")
        assert await watch.next() == "/aio"

        tx = await two.call(requests.transaction_start())
        await two.call(requests.write("/aio/a", "1", tx))
        assert await two.read_many(["/aio/a", "/aio/none"], tx) == ["1", None]
        await two.call(requests.transaction_end(tx, True))
        assert await watch.next() == "/aio/a"
        results = await one.pipeline([requests.read("/aio/a"), requests.read("/aio/none")])
        assert results[0] == "1"
        assert isinstance(results[1], StoreError)

        # A task that is cancelled in the middle leaves the connection usable.
        with anyio.move_on_after(0):
            await one.call(requests.read("/aio/a"))
        assert await one.call(requests.read("/aio/a")) == "1"
        await one.unwatch(watch)
        with pytest.raises(StoreDisconnected):
            await watch.next()
    with pytest.raises(StoreDisconnected):
        await one.call(requests.read("/aio/a"))


def test_commands(store_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*argv: str) -> tuple[int, str, str]:
        code = main(argv, store_path)
        out, err = capsys.readouterr()
        return code, out, err

    assert run("write", "/c/a", "1", "/c/b", "two") == (0, "", "")
    assert run("read", "-p", "/c/a", "/c/b") == (0, "/c/a: 1\n/c/b: two\n", "")
    assert run("list", "/c") == (0, "a\nb\n", "")
    assert run("ls", "-f", "-p", "/c") == (0, '/c/a = "1"   (n0)\n/c/b = "two"   (n0)\n', "")
    code, out, _ = run("ls", "--json", "/c")
    assert (code, json.loads(out)) == (0, {"/c/a": {"value": "1"}, "/c/b": {"value": "two"}})
    assert run("watch", "-n", "1", "/c") == (0, "/c\n", "")
    assert run("rm", "-t", "/c/a") == (0, "", "")
    assert run("read", "/c/a") == (1, "", "xenstore-read: couldn't read path /c/a\n")
    assert run("rm", "/") == (1, "", "xenstore-rm: could not remove path /\n")
    assert run("write", "//", "x") == (1, "", "xenstore-write: could not write path //\n")
    assert run("list", "/none") == (1, "", "xenstore-list: could not list path /none\n")
    assert run("ls", "/none") == (
        1,
        "",
        "xenstore-ls: xs_directory (/none): No such file or directory\n",
    )
    assert run("watch", "bad path")[::2] == (1, "xenstore-watch: Unable to add watch on bad path\n")
    assert run("write", "/c")[0] == 1
    assert main(["ls"], "/nowhere/socket") == 1
    assert "no store at /nowhere/socket" in capsys.readouterr().err


@pytest.mark.asyncio
async def test_a_store_that_has_no_room_yet_is_waited_for(tmp_path: Path) -> None:
    """Xen's own daemons let one connection wait, and another client may be faster.

    Red when a full queue is taken for nobody listening: on a busy machine a domain of a lab with
    oxenstored could not be created then.
    """
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as daemon, contextlib.ExitStack() as others:
        daemon.bind(path)
        daemon.listen(0)
        others.enter_context(open_socket(path, blocking=False))
        with pytest.raises(BlockingIOError, match="no room in its queue of connections"):
            await aio.connect(path)

        async def make_room() -> None:
            await anyio.sleep(0.05)
            others.enter_context(daemon.accept()[0])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make_room)
            async with contextlib.aclosing(await aio.connect(path, queue=30.0)):
                pass
