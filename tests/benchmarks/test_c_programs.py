"""The yardsticks in C do the whole job, and wait as they say.  Nothing here is timed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import needs, programs
from benchmarks.store import daemons
from benchmarks.store.client import Client
from hvsim.xs.blocking import connect
from tests.support import optional

pytestmark = pytest.mark.interop

PIECE = 4096
SIZE = 1 << 20
PATTERN = b"\xa5"
LOADS = ("read", "write", "mkdir", "transaction", "directory", "watch", "connect", "beside",
         "scatter:1000")  # fmt: skip


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", optional.compiler())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(os.urandom(SIZE))
    return path


def ring(image: Path, op: str, size: int, depth: int, waits: str) -> dict[str, float]:
    """A run of the C ring, from the image's beginning to its end, over and over."""
    return programs.run("blkring", image, op, size, "sequential", depth, 0.02, waits, "-", "-")


@pytest.mark.parametrize("size", [PIECE, 65536, SIZE])
@pytest.mark.parametrize("depth", [1, 128])
def test_the_ring_reads_what_is_there(image: Path, size: int, depth: int) -> None:
    """Direct and indirect requests, rings of one page and of four.  Red when the backend reads one
    sector further on, and when it answers without reading."""
    found = ring(image, "read", size, depth, "sleep")
    last = int(found["last"])
    assert found["sum"] == sum(image.read_bytes()[last : last + size])


@pytest.mark.parametrize("size", [PIECE, 65536])
def test_the_ring_writes_all_of_it(image: Path, size: int) -> None:
    """Red when the backend writes to where the request before went."""
    found = ring(image, "write", size, 32, "spin")
    written = min(int(found["operations"]) * size, SIZE)
    assert image.read_bytes()[:written] == PATTERN * written


def test_the_ring_spins_only_when_it_is_told_to(image: Path) -> None:
    """Red when `look` does not ask for the policy."""
    assert ring(image, "read", PIECE, 1, "sleep")["looks"] == 0
    assert ring(image, "read", PIECE, 1, "spin")["looks"] > 0


@pytest.mark.parametrize("mode", ["epoll", "read", "seqpacket"])
def test_a_ping_pong_sleeps_on_every_trip(mode: str) -> None:
    """Red when a side looks again and again (an `EFD_NONBLOCK`) instead of sleeping."""
    found = programs.run("pingpong", mode, 0.02, "-", "-")
    assert found["operations"] >= 64
    assert found["sleeps"] > 0.5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[daemons.Daemon]:
    socket = str(tmp_path_factory.mktemp("store") / "socket")
    command = [sys.executable, "-m", "hvsim.xenstore", "--socket", socket]
    with daemons.serving("ours", command, socket, {}) as daemon:
        with Client(socket) as client:
            client.write_many([f"/bench/directory/{number}" for number in range(1000)])
            client.write_many([f"/scatter/{n % 100}/{n}" for n in range(1000)])
        yield daemon


@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("load", LOADS)
def test_the_store_is_asked_and_answers(store: daemons.Daemon, load: str, connections: int) -> None:
    """The client fails at an answer that is an error or of another type; the rest is looked at
    here.  Red when scattered reads go to other nodes, when transactions end with F, and when
    another node is removed than was made."""
    words = (store.socket, load, connections, 0.02, "-", store.pid)
    found = programs.run("storeload", *words)
    assert found["operations"] >= connections or load in ("connect", "beside")
    assert found["again"] == 0
    assert 0 < found["p50"] <= found["p99"]
    assert found["cpu"] > 0
    with connect(store.socket) as tools:
        for number in range(connections if load != "scatter:1000" else 0):
            node = f"/bench/{number}"
            assert tools.read(node) == ("other" if load == "transaction" else "value")
            assert tools.directory(node) == []


def test_a_proper_oxenstored_does_not_rotate_its_log_at_every_line(tmp_path: Path) -> None:
    """It dumps its store into /var/run/xenstored when it rotates, and where that is not to be had
    it rotates at every line from then on: red when xendevices.c leaves that path alone (on a
    machine without such a directory)."""
    optional.xen_program("oxenstored")
    with daemons.started(daemons.OCAML, tmp_path / "store") as daemon:
        with Client(daemon.socket) as client:
            client.write_many(["/bench/node"] * 14_000)  # it rotates after 13,215 lines
            client.write("/bench/node", "the last")
        logs = sorted(path.name for path in (tmp_path / "store").glob("xenstored-access.log*"))
    assert logs == ["xenstored-access.log", "xenstored-access.log.1"]


def test_a_store_that_cannot_run_is_left_out(tmp_path: Path) -> None:
    with (
        pytest.raises(needs.LeftOut, match="false does not serve"),
        daemons.serving("false", ["false"], str(tmp_path / "socket"), {}),
    ):
        pass


def test_the_packages_are_those_of_the_tests() -> None:
    for name, package in needs.PACKAGES.items():
        if name in optional.XEN_PROGRAMS:
            assert package == optional.XEN_UTILS
        elif name in optional.PROGRAMS:
            assert package == optional.PROGRAMS[name]
