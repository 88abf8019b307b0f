"""Worker processes that end when they are told to, or when who has begun the search is gone, and
take the lab of their run down before.

Of a search that was killed nobody is left who could tell them: the kernel does (a death signal).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Final, ParamSpec, TypeVar

from hvsim.linux.syscalls import set_death_signal

_TERMINATED: Final = 128 + signal.SIGTERM
P = ParamSpec("P")
T = TypeVar("T")


class Mortals(ProcessPoolExecutor):
    """So many of them.  Work is given to them by one thread, with which they end."""

    def __init__(self, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        super().__init__(count, mp_context=spawn, initializer=_born)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As ``Executor.submit``."""
        return super().submit(_work, fn, *args, **kwargs)  # type: ignore[arg-type]


class _Ended(BaseException):
    """A worker is to end, and is at work."""


class _Life:
    """Of this process.

    Attributes:
        works: whether it is at work.
        ends: whether it has been told to end.
    """

    works = False
    ends = False


def _born() -> None:
    """Ctrl-C is for who has begun the search; it reaches every process at the terminal.  (Not
    ignored, which what a lab starts would inherit.)  SIGTERM is for everybody: so timeout(1) sends
    it."""
    signal.signal(signal.SIGINT, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    parent = multiprocessing.parent_process()
    set_death_signal(signal.SIGTERM)
    if parent is not None and os.getppid() != parent.pid:  # it has gone meanwhile
        os._exit(_TERMINATED)


def _end(*_: object) -> None:
    if _Life.ends:
        return  # it is about to
    if not _Life.works:
        os._exit(_TERMINATED)
    _Life.ends = True
    raise _Ended


def _work(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        _Life.works = True
        try:
            return work(*args, **kwargs)
        finally:
            _Life.works = False
    finally:
        if _Life.ends:  # whatever the work has made of it
            os._exit(_TERMINATED)
