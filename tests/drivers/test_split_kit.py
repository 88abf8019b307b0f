"""The parts of the kit by themselves; what needs a peer is tested with the drivers on it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

import pytest

from hvsim.domain import Domain
from hvsim.domain.mapper import GrantError, GrantMapper
from hvsim.drivers.split import handshake, late_eoi, numbers
from hvsim.drivers.split.pages import PeerPages
from tests.drivers.loopback import Frames, Table


def pages(*, by_use: bool) -> tuple[Table, PeerPages, list[int]]:
    """Room for three of five granted pages, whose first byte says which each is."""
    table = Table()
    frames = Frames(5, 100)
    table.frames = [frames]
    refs = [table.grant(0, frames.gfn(index)) for index in range(5)]
    for index in range(5):
        frames.page(index)[0] = index
    mapper = cast(GrantMapper, table)
    return table, PeerPages(mapper, 0, persistent=True, capacity=3, by_use=by_use), refs


@pytest.mark.parametrize(("by_use", "gone"), [(False, 0), (True, 1)])
def test_what_makes_room(by_use: bool, gone: int) -> None:
    """The page that was mapped first, or the one that was not used for longest.

    Red when `by_use` is not looked at, either way."""
    table, mapped, refs = pages(by_use=by_use)
    for index in (0, 1, 2, 0, 3):
        with mapped.use([refs[index]], write=False) as (view,):
            assert view[0] == index
    assert (len(mapped), mapped.evicted) == (3, 1)
    assert [index for index in range(4) if not table.pins.get(refs[index])] == [gone]
    calls = table.map_calls
    with mapped.use([refs[3], refs[0 if by_use else 1]], write=True):
        assert table.map_calls == calls, "they are mapped yet"
    mapped.close()
    assert not any(table.pins.values())


def test_a_request_never_makes_room_with_its_own_pages() -> None:
    """Red when `needed` is not left out."""
    table, mapped, refs = pages(by_use=False)
    with mapped.use(refs[:3], write=False):
        pass
    with mapped.use([refs[0], refs[3], refs[4]], write=False) as views:
        assert [view[0] for view in views] == [0, 3, 4]
    mapped.close()
    assert not any(table.pins.values())


@pytest.mark.parametrize(
    ("text", "found"),
    [("7", 7), (None, -1), ("", -1), ("-1", -1), ("0x7", -1), ("4294967295", 2**32 - 1),
     ("4294967296", -1), ("9" * 1000, -1), ("00000000007", -1)],
)  # fmt: skip
def test_a_number_of_a_stranger(text: str | None, found: int) -> None:
    assert numbers.number(text, -1) == found
    assert numbers.flag(text) is (found > 0)
    if text == "4294967296":
        assert numbers.number(text, most=numbers.U64) == 2**32


class Reported:
    """What a device is told of its end."""

    def __init__(self) -> None:
        self.texts: list[tuple[int, str]] = []

    def fatal(self, number: int, text: str) -> None:
        self.texts.append((number, text))


def test_a_page_that_cannot_be_mapped_is_told_before_the_ring() -> None:
    device = Reported()
    failed = GrantError(-3, "map", 77)
    refused = handshake.refusal(failed, "ring-ref port 9", 1)
    refused.report(cast(Any, device))
    assert device.texts == [
        (3, "mapping in shared page 77 from domain 1"),
        (errno.ENOENT, "mapping ring-ref port 9"),
    ]


class Clocked:
    """A domain whose timers are the test's to let pass."""

    def __init__(self) -> None:
        self.events = self.vcpu = self
        self.masked: list[int] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def mask(self, port: int) -> None:
        self.masked.append(port)

    def unmask(self, port: int) -> None:
        self.masked.remove(port)

    def call_later(self, delay: float, fn: Callable[[], None]) -> None:
        self.timers.append((delay, fn))


def test_who_rings_in_vain_is_heard_ever_later_and_at_once_after_work() -> None:
    """Red when the delays do not grow, and when work does not end the patience."""
    dom = Clocked()
    looks: list[str] = []
    eoi = late_eoi.LateEoi(cast(Domain, dom), 5, lambda: looks.append("look"))
    delays = []
    for _ in range(7):
        while not dom.timers:
            eoi.end(worked=False)
        assert dom.masked == [5]
        delay, listen = dom.timers.pop()
        delays.append(delay)
        listen()
        assert dom.masked == []
    assert delays == [0.004, 0.016, 0.064, 0.25, 1.0, 1.0, 1.0]
    assert looks == ["look"] * 7
    for _ in range(late_eoi.SPURIOUS_ALLOWED):
        eoi.end(worked=False)
    eoi.end(worked=True)
    eoi.end(worked=False)
    assert (dom.timers, eoi.held) == ([], 0)


def test_a_port_that_was_closed_is_not_listened_to_again() -> None:
    dom = Clocked()
    eoi = late_eoi.LateEoi(cast(Domain, dom), 5, lambda: pytest.fail("it looked"))
    while not dom.timers:
        eoi.end(worked=False)
    eoi.close()
    dom.timers.pop()[1]()
    assert dom.masked == [5], "its number may be somebody else's by now"
