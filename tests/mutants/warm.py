"""Runs tests in forks of a process that has imported pytest already; a script, started in a tree.

A line of JSON asks, a line of JSON answers: pytest's exit status, null when the time was up.
Nothing of the project is imported here, so that each fork reads the tree as it is then.
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

import pytest

_OPTIONS = ("-x", "-q", "--tb=no", "--assert=plain", "--timeout=0", "--hypothesis-seed=0")
_LEFT_OUT = ("cacheprovider", "xdist", "xdist.looponfail", "anyio", "doctest", "junitxml")

_IMPORTED = (
    "_hypothesis_pytestplugin",
    "hypothesis.stateful",
    "msgpack",
    "pytest_asyncio.plugin",
    "pytest_timeout",
)
"""What pytest and the tests import, so that no fork has to."""


def _run(asked: dict[str, Any]) -> int | None:
    pid = os.fork()
    if not pid:
        os._exit(_in_a_fork(asked))
    waits = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([waits], [], [], asked["limit"])
        if not ended:
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(waits)
    return os.waitstatus_to_exitcode(status) if ended else None


def _in_a_fork(asked: dict[str, Any]) -> int:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = not asked["keep"]
    if asked["keep"]:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    plugins = [f"-pno:{name}" for name in _LEFT_OUT]
    profile = "--hypothesis-profile=verdict"
    return int(pytest.main([*_OPTIONS, *plugins, profile, *asked["tests"]]))


def main() -> None:
    """Until nobody asks any more."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
