"""Files of tests are given to the processes of a run longest first, so that all end together.

A pytest plugin for ``pytest -n N --dist loadfile --no-loadscope-reorder``: a file stays in one
process, in its order, and files go out in the order in which they were collected.  How long a file
takes is known from this checkout's last run; in a fresh one, files that bring whole labs up count
as long.
"""

from collections import defaultdict
from typing import Final

import pytest

_CACHE: Final = "hvsim/seconds"
_LABS: Final = ("explore", "hostile", "doctor", "qdisk", "scenarios", "lab", "demo", "net",
                "observe", "cli", "devnodes", "toolstack", "exec", "faults", "fidelity",
                "repository", "guests")  # fmt: skip
"""Folders of tests, the seconds of whose files are many, from the most to the fewest."""
_LEAST: Final = 0.5
"""Files of fewer seconds are not written down."""


class Seconds:
    """Knows what each file took, and learns what it takes."""

    def __init__(self, cache: pytest.Cache) -> None:
        self._cache = cache
        self._sums: dict[str, float] = defaultdict(float)

    def known(self) -> dict[str, float]:
        """Of files that took long when they ran last."""
        found: dict[str, float] = self._cache.get(_CACHE, {})
        return found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over."""
        self._sums[report.nodeid.split("::")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        """All are over."""
        known = {**self.known(), **self._sums}
        kept = {file: round(known[file], 1) for file in sorted(known) if known[file] >= _LEAST}
        self._cache.set(_CACHE, kept)


def longest_first(files: list[str], known: dict[str, float]) -> list[str]:
    """Those that are known to be long, then those that are in the folders of long ones, then the
    others as they came."""
    return sorted(files, key=lambda file: (-known.get(file, 0.0), _guess(file)))


def _guess(file: str) -> int:
    folder = file.removeprefix("tests/").split("/")[0]
    return _LABS.index(folder) if folder in _LABS else len(_LABS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a process of several: all of them find the same order."""
    cache = getattr(config, "cache", None)  # -p no:cacheprovider
    if not hasattr(config, "workerinput") or cache is None:
        return
    by_file: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        by_file[item.nodeid.split("::")[0]].append(item)
    order = longest_first(list(by_file), Seconds(cache).known())
    items[:] = [item for file in order for item in by_file[file]]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only the one process that hands the work out keeps the figures."""
    cache = getattr(config, "cache", None)
    if not hasattr(config, "workerinput") and cache is not None:
        config.pluginmanager.register(Seconds(cache), "hvsim-seconds")
