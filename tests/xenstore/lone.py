"""The store as a process of its own, with nothing but its socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def lone_store(tmp_path: Path, trace: bool = True) -> Iterator[str]:
    """Run ``python -m hvsim.xenstore``, traced or not; gives the path of its socket."""
    path = str(tmp_path / "run" / "socket")
    ready, tell = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hvsim.xenstore",
            "--socket",
            path,
            "--ready-fd",
            str(tell),
            *(("--trace", str(tmp_path / "trace")) if trace else ()),
        ],
        cwd=ROOT,
        pass_fds=(tell,),
        stdin=subprocess.DEVNULL,
    )
    os.close(tell)
    try:
        with open(ready, "rb") as pipe:
            assert pipe.readline() == b"ready\n"
        yield path
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert not os.path.exists(path)
