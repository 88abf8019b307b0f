"""Connections at the control socket: bounded, in turns, and for the lab's own people only."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgpack
import pytest

from hvsim.toolstack.daemon import clients
from hvsim.toolstack.daemon.clients import Client
from hvsim.wire.frames import Frames, framed
from tests.support.waits import LIMIT

pytestmark = pytest.mark.asyncio


class Echo:
    """Answers every message with as many bytes as it asks for."""

    def __init__(self) -> None:
        self.seen: list[tuple[Client, Any]] = []
        self.gone: list[Client] = []

    def receive(self, client: Client, frame: bytes) -> None:
        wanted = msgpack.unpackb(frame)
        self.seen.append((client, wanted))
        client.send({"data": b"x" * wanted})

    def oversized(self, client: Client, size: int) -> None:
        client.send({"size": size})

    def left(self, client: Client) -> None:
        self.gone.append(client)


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[Echo, str]]:
    echo, path = Echo(), str(tmp_path / "control")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clients.serve, path, echo)
        with anyio.fail_after(LIMIT):
            while not Path(path).exists():
                await anyio.sleep(0.001)
            await anyio.sleep(0.01)
            yield echo, path
        tasks.cancel_scope.cancel()


def ask(*wanted: int) -> bytes:
    return b"".join(framed(msgpack.packb(one)) for one in wanted)


async def answers(stream: anyio.abc.SocketStream, count: int) -> list[Any]:
    frames = Frames()
    found: list[Any] = []
    while len(found) < count:
        frames.feed(await stream.receive())
        while (frame := frames.take()) is not None:
            found.append(msgpack.unpackb(frame))
    return found


async def settled(echo: Echo) -> int:
    """How many messages were taken, when no more are."""
    before = -1
    while before != len(echo.seen):
        before = len(echo.seen)
        await anyio.sleep(0.1)
    return before


async def test_each_gets_its_own_answers(tmp_path: Path) -> None:
    async with served(tmp_path) as (echo, path):
        async with await anyio.connect_unix(path) as one, await anyio.connect_unix(path) as two:
            await one.send(ask(1, 2))
            await two.send(ask(3))
            assert await answers(two, 1) == [{"data": b"xxx"}]
            assert await answers(one, 2) == [{"data": b"x"}, {"data": b"xx"}]
        while len(echo.gone) < 2:
            await anyio.sleep(0.001)


async def test_who_does_not_read_is_not_read_from(tmp_path: Path) -> None:
    """Red when ``pause_writing`` is not heeded: all thousand are taken, and kept."""
    async with served(tmp_path) as (echo, path), await anyio.connect_unix(path) as slow:
        await slow.send(ask(*[20_000] * 1000))
        taken = await settled(echo)
        assert 10 < taken < 100
        assert len(await answers(slow, 1000)) == 1000


async def test_for_whom_too_much_is_kept_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without the limit: it is kept for ever."""
    monkeypatch.setattr(clients, "KEPT_MAX", 1 << 20)
    async with served(tmp_path) as (echo, path), await anyio.connect_unix(path) as slow:
        await slow.send(ask(8 << 20))
        while not echo.gone:
            await anyio.sleep(0.001)


async def test_many_messages_of_one_do_not_keep_others_waiting(tmp_path: Path) -> None:
    """Red when all that has come is taken at once: the other one is the last."""
    async with (
        served(tmp_path) as (echo, path),
        await anyio.connect_unix(path) as busy,
        await anyio.connect_unix(path) as other,
    ):
        await other.send(ask(1))
        await answers(other, 1)
        await busy.send(ask(*[0] * 10_000))
        await other.send(ask(2))
        await answers(other, 1)
        place = next(n for n, (_, wanted) in enumerate(echo.seen) if wanted == 2)
        assert place < 9_000
        assert len(await answers(busy, 10_000)) == 10_000


async def test_a_message_that_is_too_large_is_the_last(tmp_path: Path) -> None:
    async with served(tmp_path) as (echo, path), await anyio.connect_unix(path) as one:
        await one.send(ask(1) + b"\0\0\0\x7f" + b"rest")
        assert await answers(one, 2) == [{"data": b"x"}, {"size": 0x7F000000}]
        with pytest.raises(anyio.EndOfStream):
            await one.receive()
        assert len(echo.seen) == 1


async def test_the_socket_is_the_owner_s_alone_and_made_anew(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control"))
    async with served(tmp_path) as (_, path):
        assert Path(path).stat().st_mode & 0o777 == 0o600
        async with await anyio.connect_unix(path) as one:
            await one.send(ask(1))
            assert await answers(one, 1)


async def test_a_process_of_another_namespace_is_turned_away(tmp_path: Path) -> None:
    """Red without ``is_trusted``."""
    if subprocess.run(["unshare", "-U", "true"], check=False).returncode:
        pytest.skip("this machine makes no user namespaces")
    greet = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "try:\n"
        "    s.sendall(b'\\x01\\0\\0\\0\\x05'); print(len(s.recv(9)) > 0)\n"
        "except OSError:\n"
        "    print(False)\n"
    )
    async with served(tmp_path) as (echo, path):
        for prefix, welcome in (([], True), (["unshare", "-U", "-r"], False)):
            done = await anyio.run_process([*prefix, sys.executable, "-c", greet, path])
            assert done.stdout.decode().strip() == str(welcome)
        assert len(echo.seen) == 1
