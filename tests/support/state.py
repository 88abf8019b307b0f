"""Post-mortems of the tests' labs are kept in a folder of the test run, and go with it."""

import os
import shutil
import tempfile

import pytest

VARIABLE = "HVSIM_STATE_DIR"


def pytest_configure(config: pytest.Config) -> None:
    """Name the folder to every process of this run."""
    if VARIABLE not in os.environ:
        folder = tempfile.mkdtemp(prefix="hvsim-state-")
        os.environ[VARIABLE] = folder
        config.add_cleanup(lambda: _forget(folder))


def _forget(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.environ.pop(VARIABLE, None)
