"""No wake-up is lost: the ring's notification protocol under a race, with its control.

A wake-up is lost when a producer publishes and decides not to ring while the consumer asks to be
woken, looks once more and sees nothing.  The compiled index code runs exactly these two steps at
the same moment on two processors, again and again (`hammer.c`); the classes in Python are too
slow to meet in so narrow a window, so their memory operations are put through every order that
an x86 processor may give them (`tso.py`).  Both are red without the fence.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from typing import Any

import pytest

from hvsim import native
from hvsim.domain.ring import PyBackRing, PyFrontRing
from tests.domain.tso import Processor, every_order
from tests.support import optional

ROOT = Path(__file__).parents[2]
CPUS = sorted(os.sched_getaffinity(0))[:2]
ROUNDS = 20_000
PATIENCE = 100.0
_native = native.load()
TWINS: list[Any] = [pytest.param((PyFrontRing, PyBackRing), id="python")]
if _native is not None:
    TWINS.append(pytest.param((_native.FrontRing, _native.BackRing), id="native"))
two_processors = pytest.mark.skipif(len(CPUS) < 2, reason="needs two processors")


# -- the compiled index code, and the fence of each twin ----------------------------------------


def _hammer(tmp_path: Path, rounds: int, *flags: str) -> tuple[int, int]:
    """(lost wake-ups, rounds played) of `hammer.c`."""
    compiler = optional.compiler()
    program = tmp_path / "hammer"
    source = Path(__file__).with_name("hammer.c")
    include = f"-I{ROOT / 'hvsim' / 'native'}"
    subprocess.run(
        [
            compiler,
            "-O2",
            "-std=gnu11",
            *flags,
            include,
            str(source),
            "-o",
            str(program),
            "-pthread",
        ],
        check=True,
        timeout=60,
    )
    ran = subprocess.run(
        [str(program), *map(str, CPUS), str(rounds)],
        check=True,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
    )
    lost, _, played = ran.stdout.removeprefix("LOST ").partition(" of ")
    return int(lost), int(played)


@pytest.mark.interop
@two_processors
@pytest.mark.parametrize("flags", [(), ("-DFENCE_IS_LOCK",)], ids=["fence", "lock"])
def test_the_compiled_ring_loses_no_wake_up(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """With the compiled twin's fence, and with what serves the Python twin as one."""
    assert _hammer(tmp_path, 100_000, *flags) == (0, 100_000)


@pytest.mark.interop
@two_processors
def test_the_compiled_ring_without_its_fence_does(tmp_path: Path) -> None:
    """The control: the tenth loss comes within the first hundred rounds and ends the program."""
    lost, _ = _hammer(tmp_path, 5_000_000, "-DFENCE_IS_NONE")
    assert lost > 0


# -- the Python classes, in every order ---------------------------------------------------------


def _no_fence(_processor: Processor) -> None:
    """What the control puts in the fence's place."""


@pytest.mark.parametrize("behind", [0, 1])
@pytest.mark.parametrize(
    ("fence", "loses"), [(Processor.fence, False), (_no_fence, True)], ids=["fence", "control"]
)
def test_the_python_ring_in_every_order(
    fence: Callable[[Processor], None], loses: bool, behind: int
) -> None:
    """A push against a final check, both ways round: of all outcomes none is a lost wake-up."""

    def race(one: Processor, two: Processor) -> tuple[Callable[[], bool], Callable[[], bool]]:
        page = bytearray(4096)
        front = PyFrontRing(memoryview(page), 8, 8)
        back = PyBackRing(memoryview(page), 8, 8)
        front.produce(b"")
        front.push()
        back.produce(back.consume() or b"")
        back.push()
        front.consume()  # from here on nobody has asked to be woken
        front.produce(b"")
        if behind:  # the race is about the answer
            front.push()
            back.produce(back.consume() or b"")
        for half, processor in ((front, one), (back, two)):
            # The model's memory begins with what the page says now.
            processor.memory[:] = half._index.tolist()
            half._index = processor  # type: ignore[assignment]
            half._fence = lambda processor=processor: fence(processor)  # type: ignore[misc]
        return (front.final_check, back.push) if behind else (front.push, back.final_check)

    expected = {(True, True), (True, False), (False, True)}
    assert every_order(race) == (expected | {(False, False)} if loses else expected)


# -- two processes, real bells ------------------------------------------------------------------


@pytest.mark.parametrize("kinds", TWINS)
def test_two_processes_over_one_page(kinds: tuple[Any, Any]) -> None:
    """Requests and answers of random depth; a half that sleeps is always woken again."""
    page = mmap(-1, 4096)
    to_back, to_front = (os.eventfd(0, os.EFD_CLOEXEC) for _ in range(2))
    front = kinds[0](memoryview(page), 8, 8)
    back = kinds[1](memoryview(page), 8, 8)
    pid = os.fork()
    if pid == 0:
        try:
            _serve(back, to_back, to_front)
        finally:
            os._exit(0)
    try:
        sent = received = 0
        deadline = time.monotonic() + 100
        while received < ROUNDS:
            depth = received % 7 + 1
            while sent < ROUNDS and sent - received < depth:
                front.produce(sent.to_bytes(8, "little"))
                sent += 1
            if front.push():
                os.eventfd_write(to_back, 1)
            response = front.consume()
            if response is not None:
                assert int.from_bytes(response, "little") == received
                received += 1
            elif not front.final_check():
                ready, _, _ = select.select([to_front], [], [], 20)
                assert ready, f"a wake-up was lost after {received} answers"
                os.eventfd_read(to_front)
            assert time.monotonic() < deadline
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(to_back)
        os.close(to_front)
        front.release()
        back.release()
        page.close()


def _serve(back: Any, wake: int, bell: int) -> None:
    while True:
        request = back.consume()
        if request is not None:
            back.produce(request)
            if back.push():
                os.eventfd_write(bell, 1)
        elif not back.final_check():
            os.eventfd_read(wake)
