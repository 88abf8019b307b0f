"""``python -m benchmarks.net.reference KIND JOB SECONDS``: one reference, in namespaces of its own.

KIND is veth (a pair of them: the kernel alone), pump (two TAPs and a plain Python process between
them) or slirp (slirp4netns); JOB is tcp, packets or ping. Prints one JSON object. A process of its
own for each run: whatever it made is gone with it, also when it is killed.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.net import traffic
from benchmarks.net.spaces import (
    FarEnd,
    Unavailable,
    cpu_seconds,
    move_out,
    open_tap,
    start_pump,
    up,
    veth,
)

NEAR, FAR = "10.9.0.1", "10.9.0.2"
SLIRP_GATEWAY = "10.0.2.2"
"""The address under which slirp4netns shows the namespace that it runs in."""


@contextlib.contextmanager
def _veth() -> Iterator[tuple[traffic.Side, str, int]]:
    far = FarEnd()
    try:
        veth("near", "far", far.pid)
        up("near", f"{NEAR}/24")
        far.configure("far", f"{FAR}/24")
        yield far.prefix, FAR, 0
    finally:
        far.close()


@contextlib.contextmanager
def _pump() -> Iterator[tuple[traffic.Side, str, int]]:
    tap = open_tap("near")
    far = FarEnd("far")
    up("near", f"{NEAR}/24")
    far.configure("far", f"{FAR}/24")
    pid = start_pump(tap, far.fd)  # a TAP that is down refuses what is written into it
    try:
        yield far.prefix, FAR, pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        far.close()
        os.close(tap)


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


KINDS = {"veth": _veth, "pump": _pump, "slirp": _slirp}


def main(kind: str, job: str, seconds: float) -> dict[str, float | str]:
    """Run one; {"unavailable": why} when this machine cannot."""
    try:
        move_out()
        with KINDS[kind]() as (there, address, pid):
            near: traffic.Side = []
            far = there
            if kind == "slirp":
                near, far = there, []
            before = cpu_seconds(pid) if pid else 0.0
            if job == "ping":
                return {"seconds": traffic.round_trip(near, address)}
            run = traffic.stream if job == "tcp" else traffic.datagrams
            flow = run(near, far, address, seconds)
            spent = cpu_seconds(pid) - before if pid else 0.0
    except Unavailable as error:
        return {"unavailable": str(error)}
    return {
        "gbits": flow.gbits,
        "packets_per_second": flow.packets / flow.seconds,
        "cpu_per_gib": spent / (flow.received / 2**30) if flow.received else 0.0,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
