"""A reference: ``python -m benchmarks.net.reference KIND SECONDS JOB ...``, in its own namespaces.

KIND is veth (a pair of them: the kernel alone), c-pump (two TAPs and a C process between them, the
program that HVSIM_BENCH_PUMP names), python-pump (the same in plain Python) or slirp4netns; a JOB
is tcp1, tcp4 (TCP with so many streams), packets or ping. Prints one JSON object, by job. A process
of its own for each run: whatever it made is gone with it, also when it is killed.
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from benchmarks.net import traffic
from benchmarks.net.jobs import measured
from benchmarks.net.spaces import (
    FarEnd,
    Unavailable,
    move_out,
    open_tap,
    remove,
    start_c_pump,
    start_pump,
    up,
    veth,
)

NEAR, FAR = "10.9.0.1", "10.9.0.2"
SLIRP_GATEWAY = "10.0.2.2"
"""The address under which slirp4netns shows the namespace that it runs in."""


Reference = contextlib.AbstractContextManager[tuple[traffic.Side, str, int]]
"""Words before a command that is to run at the far end, the address that it has there, and the
process in between (0 for none)."""


@contextlib.contextmanager
def _veth() -> Iterator[tuple[traffic.Side, str, int]]:
    far = FarEnd()
    try:
        veth("near", "far", far.pid)
        up("near", f"{NEAR}/24")
        far.configure("far", f"{FAR}/24")
        yield far.prefix, FAR, 0
    finally:
        remove("near")  # the kernel would do it, some time after the other namespace has gone
        far.close()


@contextlib.contextmanager
def _taps(start: Callable[[int, int], int]) -> Iterator[tuple[traffic.Side, str, int]]:
    """Two TAPs, and the process between them that `start` starts."""
    tap = open_tap("near")
    far = FarEnd("far")
    up("near", f"{NEAR}/24")
    far.configure("far", f"{FAR}/24")
    pid = start(tap, far.fd)  # a TAP that is down refuses what is written into it
    try:
        yield far.prefix, FAR, pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        far.close()
        os.close(tap)


def _c_pump(mode: str) -> Reference:
    return _taps(functools.partial(start_c_pump, os.environ["HVSIM_BENCH_PUMP"], mode))


@contextlib.contextmanager
def _slirp() -> Iterator[tuple[traffic.Side, str, int]]:
    """The near end is the one behind slirp4netns, so the roles are changed: see `main`."""
    program = shutil.which("slirp4netns")
    if program is None:
        raise Unavailable("slirp4netns is not installed (Debian: apt install slirp4netns)")
    up("lo")
    guest = FarEnd()
    ready, tell = os.pipe()
    words = ["--configure", "--mtu=1500", "--ready-fd", str(tell), str(guest.pid), "tap0"]
    slirp = subprocess.Popen(
        [program, *words],
        pass_fds=(tell,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(tell)
    try:
        if os.read(ready, 1) != b"1":
            said = slirp.communicate()[1] or ""
            raise Unavailable(f"slirp4netns: {said.strip().splitlines()[-1:] or 'ended'}")
        yield guest.prefix, SLIRP_GATEWAY, slirp.pid
    finally:
        os.close(ready)
        slirp.terminate()
        slirp.wait()
        if slirp.stderr is not None:
            slirp.stderr.close()
        guest.close()


KINDS: dict[str, Callable[[str], Reference]] = {
    "veth": lambda _job: _veth(),
    "c-pump": lambda job: _c_pump("epoll" if job == "ping" else "threads"),
    "python-pump": lambda _job: _taps(start_pump),
    "slirp4netns": lambda _job: _slirp(),
}
"""Each made anew for a job: the C pump has the better of its two ways to wait for each."""


def main(kind: str, seconds: float, jobs: Sequence[str]) -> dict[str, object]:
    """Run them; {"unavailable": why} when this machine cannot."""
    try:
        move_out()
        return {job: _one(kind, job, seconds) for job in jobs}
    except Unavailable as error:
        return {"unavailable": str(error)}


def _one(kind: str, job: str, seconds: float) -> tuple[float, float | None]:
    with KINDS[kind](job) as (there, address, pid):
        near: traffic.Side = []
        far = there
        if kind == "slirp4netns":
            near, far = there, []
        return measured(job, near, far, address, seconds, [pid])


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])))
