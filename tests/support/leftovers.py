"""A run of the tests leaves nothing behind: no process, shared memory or open descriptor.

A pytest plugin. Every process that the tests start inherits the variable HVSIM_TEST_RUN of this
run in its environment, so it is found again however often it was re-parented. Found leftovers end
the last test with an error, which fails the run. Processes are only reported, never killed: a
report that cleans up hides the fault.

With several processes (``pytest -n 2``) each looks for what its own tests left: processes by a mark
of its own, its own descriptors, and names in /dev/shm, which all share, when they stay and nobody
uses them: the semaphores of a pool of processes have names as long as it lives.
"""

import contextlib
import gc
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MARK = "HVSIM_TEST_RUN"
SETTLE_SECONDS = float(os.environ.get("HVSIM_TEST_SETTLE", "5"))
"""How long a process that was told to end may take to be gone; below 0 nothing is looked for:
what a planted fault leaves (tests/mutants) is no news, nor what others have in /dev/shm then.
"""

# What pytest and its libraries open once and keep, on the first use in some test.
_HARMLESS = ("/dev/null", "/dev/urandom", "anon_inode:[eventpoll]")


def marked_processes(mark: str) -> dict[int, str]:
    """pid -> command line of every other living process that carries ``mark``, and our children.

    Zombies among our own children count: whoever started them never waited for them.
    """
    found: dict[int, str] = {}
    needle = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            ours = int(stat[1]) == os.getpid()
            if stat[0] in "ZX" and not ours:
                continue
            if ours or needle in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found[int(entry.name)] = f"[{stat[0]}] " + b" ".join(words).decode(errors="replace")
        except (OSError, IndexError):
            continue  # gone meanwhile, or of another user and so none of ours
    return found


def open_descriptors() -> dict[int, str]:
    """fd -> what it is, for this process; the descriptor of the listing itself left out."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def shared_memory() -> set[str]:
    """Names in /dev/shm that belong to this user."""
    try:
        entries = list(os.scandir("/dev/shm"))
    except FileNotFoundError:
        return set()
    found = set()
    for entry in entries:
        try:
            if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                found.add(entry.name)
        except FileNotFoundError:
            continue
    return found


def unused(names: set[str]) -> set[str]:
    """Those of names in /dev/shm that no living process has in its memory: by their numbers, as the
    names that /proc tells are those under which they were made."""
    numbers: dict[tuple[str, str], str] = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            info = os.stat(f"/dev/shm/{name}", follow_symlinks=False)
            device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
            numbers[device, str(info.st_ino)] = name
    for maps in Path("/proc").glob("[0-9]*/maps") if numbers else ():
        try:
            text = maps.read_text(errors="replace")
        except OSError:
            continue  # gone meanwhile, or of another user, who has names of his own
        for line in text.splitlines():
            _, _, _, device, inode, *_ = line.split(maxsplit=5)
            numbers.pop((device, inode), None)
    return set(numbers.values())


def _settled(left: Callable[[], list[str]]) -> list[str]:
    """What of it is still there when it has had its time to go."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Compare what exists after the last test with what existed before the first."""
    if SETTLE_SECONDS < 0:
        yield
        return
    mark = uuid.uuid4().hex
    previous = os.environ.get(MARK)
    os.environ[MARK] = mark
    processes, memory, descriptors = marked_processes(mark), shared_memory(), open_descriptors()
    yield
    if previous is None:
        del os.environ[MARK]
    else:
        os.environ[MARK] = previous
    gc.collect()

    def left() -> list[str]:
        now = sorted(marked_processes(mark).items())
        found = [f"process {pid} {command}" for pid, command in now if pid not in processes]
        return found + [f"/dev/shm/{name}" for name in sorted(unused(shared_memory() - memory))]

    problems = _settled(left)
    problems += [
        f"descriptor {fd} -> {target}"
        for fd, target in sorted(open_descriptors().items())
        if descriptors.get(fd) != target and target not in _HARMLESS
    ]
    if problems:
        pytest.fail("the tests left behind:\n  " + "\n  ".join(problems), pytrace=False)
