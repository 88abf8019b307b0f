"""Words in shared memory are read and written in one piece.

An index or a grant entry that its owner is just changing must be seen as it was before or as it is
after.  An item of a memoryview in native format is one move.  ``struct`` is not to be trusted: its
``pack_into`` clears the place before it writes it, whatever the format, and a structure of several
members ("<HHI"), or a member whose standard size is not the native one ("<L"), is read in parts.
"""

import ast
import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path
from signal import SIGKILL
from typing import Any, Literal, cast

import pytest

from hvsim.abi.grant_table import GTF_permit_access
from hvsim.domain.grants import GrantTable as OwnTable
from hvsim.domain.ring import PyBackRing
from hvsim.domain.xenbus.ring_transport import RingTransport
from hvsim.hypervisor.grants import GrantRefused
from hvsim.hypervisor.grants import GrantTable as HypervisorTable
from hvsim.xenstore.daemon.connection import Connection
from hvsim.xenstore.daemon.ring import StoreRing
from hvsim.xenstore.rules.session import Session
from hvsim.xenstore.rules.store import Store
from tests.hypervisor.fakes import FakeMemory

LOOKS = 200_000
PATIENCE = 60.0
PACKAGE = Path(__file__).parents[2] / "hvsim"
two_processors = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")


# -- what is seen ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _changing(page: mmap, code: Literal["I", "Q"], values: tuple[int, int]) -> Iterator[None]:
    """Another process writes one value and the other by turns into the first word of *page*."""
    word = memoryview(page).cast(code)
    word[0] = values[0]
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            while os.getppid() == parent:
                for _ in range(10_000):
                    word[0] = values[1]
                    word[0] = values[0]
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
        word.release()


@pytest.fixture
def page() -> Iterator[mmap]:
    page = mmap(-1, 4096)
    yield page
    page.close()


def _of_a_ring(page: mmap) -> Callable[[], int]:
    ring = PyBackRing(memoryview(page), 8, 8)
    return lambda: ring._index[0]


def _unpacked(page: mmap) -> Callable[[], int]:
    return lambda: int(struct.unpack_from("@I", page, 0)[0])


@pytest.mark.parametrize("reader", [_of_a_ring, _unpacked])
def test_an_index_is_read_whole(page: mmap, reader: Callable[[mmap], Callable[[], int]]) -> None:
    read = reader(page)
    with _changing(page, "I", (0, 0xFFFF_FFFF)):
        assert {read() for _ in range(LOOKS)} <= {0, 0xFFFF_FFFF}


def _rewriting(page: mmap, put: Callable[[int], None]) -> set[int]:
    """What another process sees in the first word while this one writes all ones over all ones."""
    word = memoryview(page).cast("I")
    word[0] = 0xFFFF_FFFF
    parent = os.getpid()
    seen_page = mmap(-1, 4096)
    seen = memoryview(seen_page).cast("I")
    pid = os.fork()
    if pid == 0:
        try:
            while os.getppid() == parent:
                value = word[0]
                if value != 0xFFFF_FFFF:
                    seen[1] = 1
                seen[0] = (seen[0] + 1) & 0xFFFF_FFFF
        finally:
            os._exit(0)
    deadline = time.monotonic() + PATIENCE
    while seen[0] < LOOKS and not seen[1] and time.monotonic() < deadline:
        for _ in range(1000):
            put(0xFFFF_FFFF)
    found = {0xFFFF_FFFF} | ({0} if seen[1] else set())
    os.kill(pid, SIGKILL)
    os.waitpid(pid, 0)
    for view in (word, seen):
        view.release()
    seen_page.close()
    return found


class _Quiet:
    """A store connection, or the parts of a domain, that nothing is asked of."""

    def set_handler(self, _port: int, _handler: object) -> None:
        """Nothing rings here."""


def _daemon(page: mmap) -> Callable[[int], None]:
    ring = StoreRing(memoryview(page), Connection(Session(Store(), 0, "d0")), fresh=True)
    return lambda value: ring.put(0, value)


def _client(page: mmap) -> Callable[[int], None]:
    ring = RingTransport(memoryview(page), 1, cast(Any, _Quiet()), cast(Any, _Quiet()))
    return lambda value: ring.put(0, value)


@pytest.mark.parametrize("writer", [_daemon, _client])
def test_an_index_of_the_store_ring_is_written_whole(
    page: mmap, writer: Callable[[mmap], Callable[[int], None]]
) -> None:
    """Red with ``pack_into``: the peer takes the 0 that it shows for an index."""
    assert _rewriting(page, writer(page)) == {0xFFFF_FFFF}


@two_processors
def test_the_control_shows_a_zero(page: mmap) -> None:
    word = struct.Struct("@I")
    # By the luck of two cores: on a busy machine one turn may show none.
    turns = (_rewriting(page, lambda value: word.pack_into(page, 0, value)) for _ in range(20))
    assert any(0 in seen for seen in turns)


class _Page(FakeMemory):
    """The hypervisor's side of a shared grant table."""

    def __init__(self, page: mmap) -> None:
        self._page = page

    def view(self) -> memoryview:
        return memoryview(self._page)


def _entry(peer: int, gfn: int) -> int:
    return GTF_permit_access | peer << 16 | gfn << 32


def test_a_grant_is_checked_as_it_was_at_one_moment(page: mmap) -> None:
    """The owner flips an entry between two peers: each gets its own frame or none.

    Red when `GrantTable.check` unpacks the entry byte by byte: peer 0x0101 is given frames that
    were never granted to anybody.
    """
    frames = {0x0101: 0x1111_1111, 0x0202: 0x2222_2222}
    table = HypervisorTable()
    table.attach(_Page(page))
    seen: dict[int, set[int]] = {peer: set() for peer in frames}
    first, second = (_entry(peer, gfn) for peer, gfn in frames.items())
    with _changing(page, "Q", (first, second)):
        for look in range(LOOKS):
            peer = 0x0202 if look & 1 else 0x0101
            with contextlib.suppress(GrantRefused):
                seen[peer].add(table.check(0, peer, False)[0])
    table.detach()
    assert seen == {peer: {gfn} for peer, gfn in frames.items()}


def test_a_grant_is_written_frame_and_peer_first(page: mmap) -> None:
    """Whoever sees the permission sees what it is for.

    Red when `GrantTable._enter` stores the flags before the frame.
    """
    table = OwnTable.__new__(OwnTable)
    table._words = memoryview(page).cast("I")
    table._halves = memoryview(page).cast("H")
    entries = memoryview(page).cast("Q")
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                for number in (1, 2):
                    table._enter(0, number, number * 0x1111_1111, False)
                    table._halves[0] = 0
        finally:
            os._exit(0)
    try:
        seen = {entries[0] for _ in range(LOOKS)}
        deadline = time.monotonic() + PATIENCE
        wanted = {_entry(number, number * 0x1111_1111) for number in (1, 2)}
        while not wanted <= seen and time.monotonic() < deadline:
            seen |= {entries[0] for _ in range(LOOKS)}
    finally:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
    assert {entry for entry in seen if entry & GTF_permit_access} == wanted
    for view in (entries, table._words, table._halves):
        view.release()


# -- what is written down -------------------------------------------------------------------------

# Buffers of our own: bytes that were received or copied before.
PRIVATE = {
    ("xenstore", "_HEADER"),
    ("xenstore", "_FRAME"),
    ("domain", "_HEADER"),
    ("drivers", "int.from_bytes"),  # the sum of bytes, which are a copy
    ("drivers", "RECORD"),  # records of a capture, copied out of its ring
    ("drivers", "VNET"),  # the header that a port's frame came with
    ("drivers", "_HEADER"),  # messages of the kernel
    ("drivers", "_ATTRIBUTE"),
    ("drivers", "_INFO"),
    ("drivers", "_AUXDATA"),  # what the kernel says beside a frame
}


def _byte_by_byte(path: Path) -> Iterator[str]:
    """Calls in a module that take or put a number byte by byte: "name.method"."""
    source = path.read_text()
    whole = 'Struct("@I")' in source
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, method = ast.unparse(node.func.value), node.func.attr
        if method == "pack_into" or (method == "unpack_from" and not (name == "_WORD" and whole)):
            yield name
        elif method == "from_bytes":
            yield f"{name}.from_bytes"


@pytest.mark.parametrize("room", ["domain", "drivers", "hypervisor", "xenstore"])
def test_nobody_unpacks_shared_memory_in_place(room: str) -> None:
    """In the rooms that hold shared memory: native words, or a copy first.

    Red when one of them uses ``pack_into``, ``unpack_from`` or ``from_bytes`` anew; a buffer of
    its own goes into PRIVATE.
    """
    modules = sorted((PACKAGE / room).rglob("*.py"))
    found = {(path, name) for path in modules for name in _byte_by_byte(path)}
    assert not [(path, name) for path, name in found if (room, name) not in PRIVATE]
