"""The console's front against a daemon that a test plays on the real page."""

import mmap
import os
import re
from collections.abc import Iterator

import pytest

from hvsim.abi.console import IN, IN_PROD, IN_SIZE, OUT, OUT_CONS, OUT_SIZE
from hvsim.domain.console import BUFFER_SIZE, MAX_LINE, RESERVE, Console
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


def test_a_stalled_daemon_never_blocks_the_domain_and_never_costs_the_end(daemon: Daemon) -> None:
    """Seen red with a buffer that drops what comes last: the daemon then read neither mark nor end
    until the domain wrote again."""
    line = b"x" * 99 + b"\n"
    for _ in range(2000):
        daemon.console.write(line)
    daemon.console.write("RuntimeError: the reason of the crash\n")
    lost = 2000 * 100 + 38 - BUFFER_SIZE - OUT_SIZE - RESERVE
    assert daemon.console.dropped == lost
    out = daemon.take_all()
    head, mark, tail = out.partition(b"\n[%d bytes of console output lost]\n" % lost)
    assert mark
    assert (len(head), len(tail)) == (BUFFER_SIZE + OUT_SIZE, RESERVE)
    assert tail.endswith(line + b"RuntimeError: the reason of the crash\n")
    daemon.console.write("again\n")
    assert daemon.take_all() == b"again\n"
    assert daemon.console.dropped == lost


def test_every_hole_has_its_mark(daemon: Daemon) -> None:
    """A daemon that takes a little now and then: what it got and what the marks say is all there
    was, and the end is the end."""
    written = out = b""
    for turn in range(60):
        block = b"%05d" % turn * 1000
        written += block
        daemon.console.write(block)
        out += daemon.take(1500)
    out += daemon.take_all()
    parts = re.split(rb"\n?\[(\d+) bytes of console output lost\]\n", out)
    texts, lost = parts[::2], [int(count) for count in parts[1::2]]
    assert sum(lost) == daemon.console.dropped > 0
    assert sum(map(len, texts)) + sum(lost) == len(written)
    assert texts[-1].endswith(written[-RESERVE:])


def test_bytes_are_as_they_were_written(daemon: Daemon) -> None:
    """No line is cut, no prompt waits for its newline, no byte is another.  Seen red with "replace"
    in place of "surrogateescape"."""
    daemon.console.write(b"\x00\xff\x1b" + b"w" * 1500)
    daemon.console.write("login: ")
    daemon.console.write(os.fsdecode(b"caf\xe9"))
    daemon.console.write("\ud800")
    assert daemon.take_all() == b"\x00\xff\x1b" + b"w" * 1500 + b"login: caf\xe9\\ud800"


def test_input_that_is_not_wanted_stays_in_the_ring(daemon: Daemon) -> None:
    got: list[bytes] = []
    daemon.console.on_input(got.append)
    daemon.console.listen(False)
    daemon.type(b"a\xffb")
    assert got == []
    daemon.console.listen(True)
    assert b"".join(got) == b"a\xffb"


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
