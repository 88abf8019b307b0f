"""The parts of xenconsoled that need no lab: ring, log, terminal."""

import contextlib
import errno
import os
import re
import struct
import time
from pathlib import Path

import pytest

from hvsim.abi.console import IN_SIZE, OUT_SIZE
from hvsim.domain.vcpu import VCPU
from hvsim.drivers.console.log import ConsoleLog, log_name
from hvsim.drivers.console.ring import ConsoleBackRing
from hvsim.drivers.console.terminal import BACKLOG, Terminal
from hvsim.errors import BrokenByPeer

OUT_START = 1024
INDICES = 3072


def page_with(
    in_cons: int = 0, in_prod: int = 0, out_cons: int = 0, out_prod: int = 0
) -> bytearray:
    page = bytearray(4096)
    struct.pack_into("<4I", page, INDICES, in_cons, in_prod, out_cons, out_prod)
    return page


def index(page: bytearray, number: int) -> int:
    return int.from_bytes(page[INDICES + 4 * number : INDICES + 4 * number + 4], "little")


def test_output_is_taken_across_the_rings_end_and_the_counters_wrap() -> None:
    start = 2**32 - 3
    page = page_with(out_cons=start, out_prod=4)
    for position, byte in enumerate(b"wrapped"):
        page[OUT_START + ((start + position) & (OUT_SIZE - 1))] = byte
    ring = ConsoleBackRing(memoryview(page))
    assert ring.take(3) == b"wra"
    assert ring.take(100) == b"pped"
    assert ring.take(100) == b""
    assert index(page, 2) == 4


def test_input_is_put_across_the_rings_end() -> None:
    page = page_with(in_cons=IN_SIZE - 2, in_prod=IN_SIZE - 2)
    ring = ConsoleBackRing(memoryview(page))
    assert ring.room == IN_SIZE
    ring.put(b"hello")
    assert bytes(page[IN_SIZE - 2 : IN_SIZE]) + bytes(page[:3]) == b"hello"
    assert (index(page, 1), ring.room) == (IN_SIZE + 3, IN_SIZE - 5)


@pytest.mark.parametrize("prod", [OUT_SIZE + 1, 2**31, 2**32 - 1])
def test_an_index_that_lies_is_refused(prod: int) -> None:
    ring = ConsoleBackRing(memoryview(page_with(out_prod=prod)))
    with pytest.raises(BrokenByPeer):
        ring.take(OUT_SIZE)


def test_a_guest_that_rewrites_our_index_gets_nothing_twice() -> None:
    page = page_with(out_prod=4)
    ring = ConsoleBackRing(memoryview(page))
    assert len(ring.take(100)) == 4
    page[INDICES + 8 : INDICES + 12] = b"\0\0\0\0"
    assert ring.take(100) == b""


def test_a_log_never_takes_more_than_two_files(tmp_path: Path) -> None:
    log = ConsoleLog(tmp_path / "g.log", limit=100)
    for number in range(50):
        log.write(b"%029d\n" % number)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.log", "g.log.1"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "g.log").read_bytes().endswith(b"49\n")


def test_a_full_disk_costs_a_log_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is written when there is room again, behind a mark.  Seen red with a log that forgets
    what it could not write."""
    log = ConsoleLog(tmp_path / "g.log")
    log.write(b"begun\n")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for _ in range(100):
            log.write(b"x" * 2047 + b"\n")
        log.write(b"last words\n")
    log.write(b"more\n")
    log.close()
    said = (tmp_path / "g.log").read_bytes()
    lost = re.findall(rb"\n\[(\d+) bytes of console output lost\]\n", said)
    marks = sum(len(b"\n[%s bytes of console output lost]\n" % one) - 1 for one in lost)
    assert said.startswith(b"begun\nxxx")
    assert said.endswith(b"xxx\nlast words\nmore\n")
    assert len(lost) == 1
    total = len(b"begun\nlast words\nmore\n") + 100 * 2048
    assert len(said) - marks + sum(map(int, lost)) in (total, total + 1)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("guest", "guest.log"),
        ("..", "domain-3.log"),
        ("a/b", "domain-3.log"),
        (None, "domain-3.log"),
        ("a\nb", "domain-3.log"),
        ("x" * 300, "domain-3.log"),
        ("", "domain-3.log"),
    ],
)
def test_a_name_cannot_lead_the_log_elsewhere(name: str | None, file: str) -> None:
    assert log_name(name, 3) == file


PTY = 2 * 65536
"""Bytes that Linux keeps for both ends of one, at most."""


def heard(seen: bytes | bytearray) -> tuple[int, int]:
    """How many bytes of output there are in what a terminal has shown, and how many its marks say
    were lost."""
    mark = rb"\n\[(\d+) bytes of console output lost\]\n"
    return len(re.sub(mark, b"", seen)), sum(map(int, re.findall(mark, seen)))


def test_a_mark_that_is_shown_in_part_is_whole_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little the terminal takes at a time, while more is lost.  Seen red with the rest of a
    mark among the output that waits: it was cut away, and counted as output."""
    vcpu = VCPU()
    terminal = Terminal(vcpu, lambda: None)
    shown, room = bytearray(), [0]

    def write(_fd: int, data: bytes) -> int:
        taken = bytes(data[: room[0]])
        if not taken:
            raise BlockingIOError
        room[0] -= len(taken)
        shown.extend(taken)
        return len(taken)

    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", write)
            written = 0
            for room[0] in (0, 0, 5, 0, 9, 30, 0, 3, 4 * BACKLOG):
                terminal.write(b"x" * (BACKLOG // 2 + 1))
                written += BACKLOG // 2 + 1
    finally:
        terminal.close()
        vcpu.close()
    kept, lost = heard(shown)
    assert lost > 0
    assert kept + lost == written


def test_a_terminal_without_a_reader_keeps_the_newest_output() -> None:
    vcpu = VCPU()
    typed: list[bytes] = []
    terminal = Terminal(vcpu, lambda: typed.append(terminal.read(100)))
    try:
        for _ in range(40):
            terminal.write(b"x" * 8192)
        terminal.write(b"the end")
        client = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            seen = bytearray()
            deadline = time.monotonic() + 30.0
            while not seen.endswith(b"the end"):
                assert time.monotonic() < deadline, f"{len(seen)} bytes, and not the last"
                # What the one end has written is at the other a moment later (a kernel's worker).
                with contextlib.suppress(BlockingIOError):
                    seen += os.read(client, 65536)
                vcpu.block(0.02)
                vcpu.dispatch()
            # What is missing is marked, each hole of it: Linux moves what the pty has taken when it
            # likes, and then the pty takes more in between.  Seen red without the mark.
            kept, lost = heard(seen)
            assert kept + lost == 40 * 8192 + len(b"the end")
            # What the pty holds, and then no more than the backlog.
            assert kept <= BACKLOG + PTY
            os.write(client, b"hi")
            vcpu.run_until(lambda: b"".join(typed) == b"hi", 5.0, "what was typed")
        finally:
            os.close(client)
    finally:
        terminal.close()
        vcpu.close()
