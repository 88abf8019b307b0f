"""Long work goes on between what others ask, a piece in each round of the server."""

import os
import select
from collections.abc import Generator

from hvsim.hypervisor.server import Server
from hvsim.wire.boot import Boot, Dom0, Spawner

BOOT = Boot(memory_pages=64, dom0=Dom0(memory_pages=16), spawner=Spawner(argv=("spawn",)))


def test_whoever_asks_is_served_between_two_pieces() -> None:
    """Seen red with all pieces of a job done in one round."""
    server = Server(BOOT)
    done, heard = [0], []

    def job() -> Generator[None, None, None]:
        for _ in range(100):
            done[0] += 1
            yield

    reader, writer = os.pipe()
    try:
        os.write(writer, b"!")
        server.loop.watch(reader, select.EPOLLIN, lambda _: heard.append(done[0]))
        server.machine.work.start(job())
        for _ in range(3):
            server.round(None)
        assert heard == [1, 2, 3]
    finally:
        server.close()
        os.close(reader)
        os.close(writer)


def test_jobs_take_turns() -> None:
    """A short job need not wait for the end of a long one."""
    server = Server(BOOT)
    ended: list[str] = []

    def job(name: str, pieces: int) -> Generator[None, None, None]:
        for _ in range(pieces):
            yield
        ended.append(name)

    try:
        server.machine.work.start(job("long", 50))
        server.machine.work.start(job("short", 2))
        while server.machine.work.waiting:
            server.round(None)
        assert ended == ["short", "long"]
    finally:
        server.close()
