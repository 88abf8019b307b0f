"""A search and whoever makes its runs: what it makes of runs that did not begin, or do not end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hvsim.errors import HvsimError
from hvsim.explore import explore as searching
from hvsim.explore.explore import Wanted, explore
from hvsim.explore.job import NOT_UP, Outcome
from hvsim.explore.workers import dask
from hvsim.faults.scenario.load import load

TEXT = """
[scenario]
[[domain]]
name = "a"
program = "domains.guests.idle:main"
[[phase]]
name = "one"
for = "1s"
"""
FAILS = Outcome((("a check", "what it said"),), 3, ((1, 1),))
NOT_BEGUN = Outcome(((NOT_UP, "no memory is left"),))


class Given(Executor):
    """Makes no run, and says that these are the outcomes, of the first ones together; None: it does
    not end."""

    def __init__(self, outcomes: list[Outcome | None]) -> None:
        self._first = len(outcomes)
        self._left: Iterator[Outcome | None] = iter(outcomes)
        self._open: list[tuple[Future[Any], Outcome]] = []

    def submit(self, fn: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        outcome = next(self._left, Outcome())
        if outcome is not None:
            self._open.append((future, outcome))
        self._first -= 1
        if self._first <= 0:
            for one, told in self._open:
                one.set_result(told)
            self._open = []
        return future


def wanted(tmp_path: Path, jobs: int) -> Wanted:
    file = tmp_path / "it.toml"
    file.write_text(TEXT, encoding="utf-8")
    return Wanted(load(file), 10, 1, "random", jobs)


@pytest.mark.parametrize("outcomes", [[FAILS, NOT_BEGUN], [NOT_BEGUN, FAILS]])
def test_what_was_found_is_kept_when_another_run_could_not_begin(
    tmp_path: Path, outcomes: list[Outcome | None]
) -> None:
    """Red when the run that could not begin ends the search all the same."""
    row = explore(wanted(tmp_path, 2), Given(outcomes), lambda _: None)
    assert row["found"] is not None
    assert row["found"]["check"] == "a check"
    assert Path(row["found"]["file"]).parent == tmp_path


class Mortal(Given):
    """Dies of the run behind the last that it knows of."""

    def submit(self, fn: Callable[..., Any], /, *words: Any, **more: Any) -> Future[Any]:
        if self._first <= 0:
            raise BrokenExecutor
        return super().submit(fn, *words, **more)


def test_who_does_not_live_to_shrink_it_has_told_where_it_is(tmp_path: Path) -> None:
    """Red when the file is named in the end only: it was written, and nobody knew."""
    said: list[str] = []
    with pytest.raises(BrokenExecutor):
        explore(wanted(tmp_path, 1), Mortal([FAILS]), said.append)
    file = tmp_path / "it-found-1.toml"
    assert "a check" in file.read_text(encoding="utf-8")
    assert any(str(file) in line for line in said), said


def test_a_lab_that_does_not_come_up_ends_it(tmp_path: Path) -> None:
    with pytest.raises(HvsimError, match="explore: no memory is left"):
        explore(wanted(tmp_path, 2), Given([Outcome(), NOT_BEGUN]), lambda _: None)


def test_where_no_run_ends_somebody_looks_whether_any_will(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red (it hangs) when an end is waited for, whoever is to make the run."""
    monkeypatch.setattr(searching, "QUIET", 0.01)
    looked = []

    def look() -> None:
        looked.append(1)
        if len(looked) == 3:
            raise HvsimError("the workers are gone")

    with pytest.raises(HvsimError, match="the workers are gone"):
        explore(wanted(tmp_path, 1), Given([None]), lambda _: None, look)


class Deaf(Given):
    """Has runs that nobody ends."""

    def __init__(self) -> None:
        super().__init__([None])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        assert not wait, "without an end"


class Scheduler:
    """What `distributed.Client` says of one whose workers go."""

    def __init__(self, _address: str, timeout: str) -> None:
        self._told = [{"tcp://worker": 1}]
        assert timeout

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def nthreads(self) -> dict[str, int]:
        return self._told.pop() if self._told else {}

    def get_executor(self, pure: bool) -> Deaf:
        assert not pure
        return Deaf()


def test_a_search_whose_dask_workers_are_gone_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask keeps their runs for the workers that may come.  Red (it hangs) when nobody asks for
    workers; and with the executor's own block, which waits for every run that is open."""
    import distributed

    monkeypatch.setattr(searching, "QUIET", 0.01)
    monkeypatch.setattr(distributed, "Client", Scheduler)
    with (
        pytest.raises(HvsimError, match="the workers of the Dask scheduler at here are gone; `hvs"),
        dask("here") as (executor, threads, look),
    ):
        explore(wanted(tmp_path, threads), executor, lambda _: None, look)


def test_what_dask_says_of_its_end_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when it passes through: a traceback for whoever searches."""
    import distributed

    monkeypatch.setattr(distributed, "Client", Scheduler)
    killed = distributed.scheduler.KilledWorker("play-1", SimpleNamespace(address="one"), 3)
    gone = "the Dask scheduler at here is gone"
    for failure, said in (
        (CancelledError(), gone),
        (distributed.comm.CommClosedError(), gone),
        (killed, "have died of a run, perhaps for want of memory"),
    ):
        with pytest.raises(HvsimError, match=said), dask("here"):
            raise failure
