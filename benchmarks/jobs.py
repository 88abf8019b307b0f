"""Telling a guest of a lab what to do next, through the store, and hearing how it went."""

import time
from dataclasses import dataclass
from typing import Self

from hvsim.lab.up import Running

TIMEOUT = 120.0
"""Seconds that one job may take."""


@dataclass(frozen=True)
class Outcome:
    """What a job came to: seconds per operation (or another figure), and how many there were."""

    figure: float
    operations: int


class Jobs:
    """The `worker` guest called `name` of a running lab.  Nobody looks while it works.

    A context manager: it holds a connection to the store.
    """

    def __init__(self, running: Running, name: str) -> None:
        self._store = running.store("BENCH")
        self._data = f"/local/domain/{running.domids[name]}/data"
        self._name = name
        self._number = 0
        self._store.watch(f"{self._data}/result", lambda _path: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def run(self, *words: object) -> Outcome:
        """Do a job (its name, then its arguments).  Raises TimeoutError, RuntimeError."""
        self._number += 1
        tag = f"{self._number} "
        job = " ".join(map(str, words))
        self._store.write(f"{self._data}/go", tag + job)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self._store.poll(deadline - time.monotonic())
            if self._store.exists(f"{self._data}/result"):
                result = self._store.read(f"{self._data}/result")
                if result.startswith(tag):
                    return self._parse(result[len(tag) :], job)
        raise TimeoutError(f"{self._name} did not finish {job!r} within {TIMEOUT:g} s")

    def _parse(self, result: str, job: str) -> Outcome:
        try:
            figure, operations = result.split()
            return Outcome(float(figure), int(operations))
        except ValueError:
            raise RuntimeError(f"{self._name}: {job!r} failed: {result}") from None
