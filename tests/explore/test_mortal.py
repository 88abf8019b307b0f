"""A worker that is told to end does, whatever is made of it in the work that it does.

Red with one that ends only when the exception comes out as it went in.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = """
import os, signal, sys
from concurrent.futures import BrokenExecutor
from hvsim.explore.mortal import Mortals

def goes_on():
    os.kill(os.getpid(), signal.SIGTERM)

def takes_it():
    try:
        goes_on()
    except BaseException:
        return

def makes_another_of_it():
    try:
        goes_on()
    except BaseException:
        raise ValueError("another") from None

if __name__ == "__main__":
    with Mortals(1) as pool:
        worker = pool.submit(os.getpid).result(30.0)
        try:
            pool.submit(globals()[sys.argv[1]]).result(30.0)
            print("it lives")
        except BrokenExecutor:
            print("it has ended")
        except ValueError:
            print("it lives, and tells of another error")
"""


@pytest.mark.parametrize("work", ["goes_on", "takes_it", "makes_another_of_it"])
def test_it_ends(tmp_path: Path, work: str) -> None:
    search = tmp_path / "search.py"
    search.write_text(SEARCH, encoding="utf-8")
    command = [sys.executable, str(search), work]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60.0)
    assert (done.stdout, done.stderr) == ("it has ended\n", "")
