"""The C programs of benchmarks/c: compiled once for a run of the benchmarks, and run."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.needs import program
from benchmarks.samples import Sample

HERE = Path(__file__).parent
NATIVE = HERE.parent / "hvsim" / "native"
TIMEOUT = 120.0
"""Seconds that one run may take."""


@functools.cache
def compiled(name: str) -> str:
    """The path of program `name` (of the library, for "xendevices").  Raises LeftOut."""
    target = f"{_folder()}/{name}"
    flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-pthread", f"-I{NATIVE}"]
    if name == "xendevices":
        flags += ["-shared", "-fPIC"]
    source = str(HERE / "c" / f"{name}.c")
    subprocess.run([program("cc"), *flags, "-o", target, source, "-ldl"], check=True)
    return target


@functools.cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="hvsim-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def run(name: str, *words: object) -> dict[str, float]:
    """What program `name` has printed: lines of "name value".  Raises LeftOut, RuntimeError."""
    command: Sequence[str] = [compiled(name), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return {key: float(value) for key, value in map(str.split, done.stdout.splitlines())}


def sample(found: Mapping[str, float]) -> Sample:
    """What a program printed, as a sample."""
    return Sample(
        found["seconds"],
        cpu=found.get("cpu"),
        sleeps=found.get("sleeps"),
        middle=found.get("p50"),
        tail=found.get("p99"),
    )
