"""Telling a guest of a lab what to do next, through the store, and hearing how it went."""

import time

from hvsim.lab.up import Running

TIMEOUT = 120.0
"""Seconds that one job may take."""


class Jobs:
    """The `worker` guest called `name` of a running lab."""

    def __init__(self, running: Running, name: str) -> None:
        self._store = running.store("BENCH")
        self._data = f"/local/domain/{running.domids[name]}/data"
        self._name = name
        self._number = 0

    def run(self, job: str) -> float:
        """Do `job` ("<name> <arguments>"); its figure.  Raises TimeoutError."""
        self._number += 1
        tag = f"{self._number} "
        self._store.write(f"{self._data}/go", tag + job)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if self._store.exists(f"{self._data}/result"):
                result = self._store.read(f"{self._data}/result")
                if result.startswith(tag):
                    return float(result[len(tag) :])
            time.sleep(0.05)  # nothing polls faster while a measurement runs
        raise TimeoutError(f"{self._name} did not finish {job!r} within {TIMEOUT:g} s")
