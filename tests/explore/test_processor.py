"""Workers of a search keep to one processor, two of them to each."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

WORKER = """
import os
from hvsim.explore.processor import keep
print(keep(), sorted(os.sched_getaffinity(0)), flush=True)
input()
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor")
def test_each_keeps_to_one_until_there_is_no_place_left() -> None:
    """Others may search meanwhile.  Red when a place that is held is taken."""
    allowed = sorted(os.sched_getaffinity(0))
    told = []
    with ExitStack() as stack:
        for _ in range(2 * len(allowed) + 1):
            worker = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(worker.kill)
            assert worker.stdout is not None
            told.append(worker.stdout.readline().strip())
    kept = [line for line in told if not line.startswith("None")]
    assert all(kept.count(line) <= 2 for line in kept)
    for line in told:
        number, _, affinity = line.partition(" ")
        assert affinity == (str(allowed) if number == "None" else f"[{number}]")
