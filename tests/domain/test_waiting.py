"""The wait of a vCPU, compiled and not: the same to whoever calls it."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from hvsim import native
from hvsim.domain.waiting import Wait, compiled, waiting

Made = tuple[Wait, select.epoll, memoryview]


@pytest.fixture(params=["compiled", "python"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    word = memoryview(bytearray(8)).cast("q")
    with select.epoll() as epoll:
        if request.param == "python":
            yield waiting(epoll.poll, word), epoll, word
            return
        if native.load() is None:
            pytest.skip("the compiled helper is not built")
        wait = compiled(epoll.fileno(), word)
        assert wait is not None
        yield wait, epoll, word
        wait.release()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def soon(do: Callable[[], object], after: float = 0.02) -> threading.Timer:
    timer = threading.Timer(after, do)
    timer.start()
    return timer


def test_what_is_there_is_told(made: Made, pipe: tuple[int, int]) -> None:
    wait, epoll, _ = made
    epoll.register(pipe[0], select.EPOLLIN)
    assert list(wait(0.0, 0)) == []
    os.write(pipe[1], b"x")
    assert list(wait(0.0, 0)) == [pipe[0]] == list(wait(-1.0, -1))


def test_the_page_says_until_when_while_it_waits(made: Made, pipe: tuple[int, int]) -> None:
    """Red when the word is not stored, or not taken back."""
    wait, epoll, word = made
    epoll.register(pipe[0], select.EPOLLIN)
    seen: list[int] = []

    def look() -> None:
        seen.append(word[0])
        os.write(pipe[1], b"x")

    timer = soon(look)
    assert list(wait(10.0, 1 << 60)) == [pipe[0]]
    timer.join()
    assert (seen, word[0]) == ([1 << 60], 0)


def test_a_look_leaves_the_page_alone(made: Made) -> None:
    wait, _, word = made
    word[0] = 7
    assert not wait(0.0, 9)
    assert word[0] == 7


def test_it_ends_and_not_too_early(made: Made) -> None:
    """Red when the rest of a millisecond is cut off: who waits looks again and again."""
    wait, _, _ = made
    for seconds in (0.0001, 0.0031):
        before = time.monotonic()
        assert not wait(seconds, 1)
        assert time.monotonic() - before >= seconds


def test_a_signal_does_not_end_it(made: Made, pipe: tuple[int, int]) -> None:
    wait, epoll, _ = made
    epoll.register(pipe[0], select.EPOLLIN)
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: heard.append(number))
    try:
        main = threading.main_thread().ident
        assert main is not None
        timers = [
            soon(lambda: signal.pthread_kill(main, signal.SIGUSR1)),
            soon(lambda: os.write(pipe[1], b"x"), 0.1),
        ]
        assert list(wait(10.0, 1)) == [pipe[0]]
        for timer in timers:
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_what_a_handler_raises_passes_through(made: Made) -> None:
    wait, _, word = made

    def handler(_number: int, _frame: object) -> None:
        raise InterruptedError("enough")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        main = threading.main_thread().ident
        assert main is not None
        timer = soon(lambda: signal.pthread_kill(main, signal.SIGUSR1))
        with pytest.raises(InterruptedError, match="enough"):
            wait(10.0, 1)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert word[0] == 0


def test_more_than_fit_are_told_later(made: Made) -> None:
    wait, epoll, _ = made
    bells = [os.eventfd(1) for _ in range(40)]
    try:
        for bell in bells:
            epoll.register(bell, select.EPOLLIN | select.EPOLLET)
        told: list[int] = []
        while ready := wait(0.0, 0):
            told += ready
        assert sorted(told) == sorted(bells)
    finally:
        for bell in bells:
            os.close(bell)


def wrong() -> Sequence[tuple[str, Callable[[], object]]]:
    module = native.load()
    if module is None:
        pytest.skip("the compiled helper is not built")
    word = memoryview(bytearray(8)).cast("q")
    wait = module.Wait(0, word)
    return (
        ("timeout", lambda: wait(1.0)),
        ("8 bytes", lambda: module.Wait(0, memoryview(bytearray(9)))),
        ("set once", lambda: wait.__init__(0, word)),
    )


def test_the_compiled_one_refuses_what_makes_no_sense() -> None:
    for what, do in wrong():
        with pytest.raises((TypeError, ValueError), match=what):
            do()


def test_a_page_that_was_released_is_not_touched() -> None:
    module = native.load()
    if module is None:
        pytest.skip("the compiled helper is not built")
    wait = module.Wait(0, memoryview(bytearray(8)).cast("q"))
    wait.release()
    with pytest.raises(ValueError, match="released"):
        wait(0.0, 0)
