"""The console's front against a daemon that a test plays on the real page."""

import mmap
import os
from collections.abc import Iterator

import pytest

from hvsim.abi.console import IN, IN_PROD, IN_SIZE, OUT, OUT_CONS, OUT_SIZE
from hvsim.domain.console import BUFFER_SIZE, MAX_LINE, Console
from hvsim.domain.events import EventChannels
from hvsim.domain.vcpu import VCPU
from tests.support import bells
from tests.support.farend import FarEnd

INDEX_STARTS = [0, 0xFFFF_FF00]


class Daemon:
    """The other half: xenconsoled on the same page."""

    def __init__(self, start: int) -> None:
        self.page = memoryview(mmap.mmap(-1, 4096))
        self.words = self.page.cast("I")
        # in_cons, in_prod, out_cons, out_prod
        self.words[IN_PROD // 4 - 1 : IN_PROD // 4 + 3] = memoryview(
            b"".join(start.to_bytes(4, "little") for _ in range(4))
        ).cast("I")
        self.far, self.vcpu = FarEnd(), VCPU()
        self.rx, self.tx = bells.make(), bells.make()
        self.far.answer([0, [[2, 2, 2]]], [self.rx, self.tx])
        self.events = EventChannels(self.far.client, self.vcpu, bells.make())
        self.console = Console(self.page, 2, self.events)
        self.lines: list[str] = []
        self.console.on_line(self.lines.append)

    def take(self, most: int = OUT_SIZE) -> bytes:
        cons, prod = self.words[OUT_CONS // 4], self.words[OUT_CONS // 4 + 1]
        count = min((prod - cons) & 0xFFFF_FFFF, most)
        data = bytes(self.page[OUT + ((cons + i) % OUT_SIZE)] for i in range(count))
        self.words[OUT_CONS // 4] = (cons + count) & 0xFFFF_FFFF
        self.ring()
        return data

    def take_all(self) -> bytes:
        taken = b""
        while data := self.take():
            taken += data
        return taken

    def type(self, data: bytes) -> None:
        prod = self.words[IN_PROD // 4]
        for i, byte in enumerate(data):
            self.page[IN + ((prod + i) % IN_SIZE)] = byte
        self.words[IN_PROD // 4] = (prod + len(data)) & 0xFFFF_FFFF
        self.ring()

    def ring(self) -> None:
        bells.ring(self.rx)
        self.vcpu.block(0.0)
        self.vcpu.dispatch()

    def rung(self) -> bool:
        return bells.silence(self.tx) > 0

    def close(self) -> None:
        self.events.close_all()
        self.vcpu.close()
        self.far.close()
        os.close(self.rx)
        os.close(self.tx)


@pytest.fixture(params=INDEX_STARTS)
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    daemon = Daemon(request.param)
    yield daemon
    daemon.close()


def test_text_reaches_the_daemon_and_it_is_rung(daemon: Daemon) -> None:
    daemon.console.write("Grüße\n")
    assert daemon.rung()
    assert daemon.take() == "Grüße\n".encode()
    assert daemon.console.pending == 0


def test_more_than_the_ring_holds_follows_as_the_daemon_takes(daemon: Daemon) -> None:
    text = bytes(range(32, 127)) * 100
    daemon.console.write(text)
    assert daemon.console.unsent == len(text) - OUT_SIZE
    assert daemon.take(100) + daemon.take_all() == text
    assert daemon.console.dropped == 0


def test_a_stalled_daemon_never_blocks_the_domain(daemon: Daemon) -> None:
    line = b"x" * 99 + b"\n"
    for _ in range(2000):
        daemon.console.write(line)
    assert daemon.console.dropped == 2000 * 100 - BUFFER_SIZE - OUT_SIZE
    dropped = daemon.console.dropped
    daemon.take_all()
    daemon.console.write("again\n")
    tail = daemon.take_all()
    assert tail == b"\n[%d bytes of console output lost]\nagain\n" % dropped
    assert daemon.console.dropped == dropped


def test_no_text_with_an_unmarked_hole(daemon: Daemon) -> None:
    """Between the loss and the notice nothing is let through, even when there is room for it."""
    daemon.console.write(b"a" * BUFFER_SIZE)
    daemon.console.write(b"a" * (OUT_SIZE + 10))
    daemon.take(20)
    daemon.console.write(b"Q" * 5)
    out = daemon.take_all()
    assert b"Q" not in out


def test_input_arrives_in_lines(daemon: Daemon) -> None:
    daemon.type(b"one\r\ntwo\nth")
    assert daemon.lines == ["one", "two"]
    assert daemon.rung(), "the daemon may wait for room"
    daemon.type(b"ree\r")
    daemon.type(b"\n\n")
    assert daemon.lines == ["one", "two", "three", ""]


def test_an_endless_line_is_cut(daemon: Daemon) -> None:
    for _ in range(MAX_LINE // 512 + 1):
        daemon.type(b"y" * 512)
    assert daemon.lines == ["y" * MAX_LINE]


@pytest.mark.parametrize("word", [IN_PROD // 4, OUT_CONS // 4])
def test_impossible_indices_silence_the_console_and_nothing_else(daemon: Daemon, word: int) -> None:
    daemon.console.write("z" * 10)
    daemon.words[word] = (daemon.words[word] + 5000) & 0xFFFF_FFFF
    daemon.ring()
    daemon.console.write("more")
    assert daemon.console.broken
    assert daemon.console.dropped >= 4
    daemon.type(b"line\n")
    assert daemon.lines == []


def test_the_page_is_not_trusted_for_our_own_indices(daemon: Daemon) -> None:
    daemon.console.write("abc")
    daemon.words[OUT_CONS // 4 + 1] = 12345  # out_prod is ours
    daemon.console.write("def")
    assert daemon.take() == b"abcdef"
