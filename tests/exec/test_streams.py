"""Which of a person's descriptors a program gets, as a table, and what each kind of file is."""

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hvsim.errors import HvsimError
from hvsim.lab.streams import Stream, look, plan

SCREEN = 34816
TTY = Stream(terminal=True, device=SCREEN)
FILE = Stream()
KEYBOARD = Stream(device=3330)
G, T, P = "given", "terminal", "pipe"

PLAIN = {
    (TTY, TTY, TTY): (T, T, T),
    (TTY, TTY, FILE): (T, T, G),
    (TTY, FILE, TTY): (P, G, P),
    (TTY, FILE, FILE): (P, G, G),
    (FILE, TTY, TTY): (G, P, P),
    (FILE, TTY, FILE): (G, P, G),
    (FILE, FILE, TTY): (G, G, P),
    (FILE, FILE, FILE): (G, G, G),
}


def kinds(streams: tuple[Stream, Stream, Stream], wish: bool | None = None) -> tuple[str, ...]:
    return tuple(kind.value for kind in plan(streams, wish))


@pytest.mark.parametrize("streams", list(PLAIN), ids=lambda s: "".join("-t"[x is TTY] for x in s))
def test_the_table(streams: tuple[Stream, Stream, Stream]) -> None:
    assert kinds(streams) == PLAIN[streams]
    assert kinds(streams, False) == tuple(P if s is TTY else G for s in streams)
    if TTY in streams:
        assert kinds(streams, True) == tuple(T if s is TTY else G for s in streams)
    else:
        with pytest.raises(HvsimError, match="-t: no terminal is at standard input"):
            plan(streams, True)


def test_no_device_but_a_harmless_one_is_ever_given() -> None:
    """Over all rows and wishes."""
    for streams in itertools.product((TTY, FILE, KEYBOARD), repeat=3):
        for wish in (None, False, True):
            if wish and TTY not in streams:
                continue
            for stream, kind in zip(streams, plan(streams, wish), strict=True):
                assert (kind.value == G) == (stream is FILE)


def test_two_terminals_are_not_shown_on_one() -> None:
    other = Stream(terminal=True, device=SCREEN + 1)
    assert kinds((TTY, TTY, other)) == (T, T, P)
    assert kinds((TTY, other, other)) == (T, T, T)


@contextmanager
def at_0(fd: int) -> Iterator[None]:
    saved = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(saved, 0)
        os.close(saved)


def opened(path: str, flags: int = os.O_RDONLY) -> Callable[[], int]:
    return lambda: os.open(path, flags)


def reading_end() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def master() -> int:
    near, far = os.openpty()
    os.close(far)
    return near


def slave() -> int:
    near, far = os.openpty()
    os.close(near)  # hung up: isatty() says no
    return far


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (opened(os.devnull), "plain"),
        (opened("/dev/zero"), "plain"),
        (opened(__file__), "plain"),
        (reading_end, "plain"),
        (lambda: socket.socket(socket.AF_UNIX).detach(), "plain"),
        (master, "terminal"),
        (slave, "device"),
        (opened("/dev/tty", os.O_PATH), "standard input is no file that can be read"),
        (opened("/"), "standard input is a directory, and a domain gets none"),
        (lambda: os.pidfd_open(os.getpid()), "standard input is no file"),
        (lambda: os.eventfd(0), "standard input is no file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_descriptor_is(make: Callable[[], int], found: str) -> None:
    """Red for "device" when isatty(3) alone is asked: by /proc/self/fd the name of a terminal that
    was hung up is opened anew, and is somebody's next one."""
    fd = make()
    with at_0(fd):
        os.close(fd)
        if found.startswith("standard"):
            with pytest.raises(HvsimError, match=found):
                look(0)
            return
        stream = look(0)
    assert stream is not None
    said = "terminal" if stream.terminal else "plain" if stream.device is None else "device"
    assert said == found


def test_what_is_closed_is_nothing() -> None:
    saved = os.dup(0)
    os.close(0)
    try:
        assert look(0) is None
    finally:
        os.dup2(saved, 0)
        os.close(saved)
