"""4 KiB reads through blkfront and a real QEMU's qdisk, against NBD from the same image."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.group import Group
from benchmarks.jobs import Jobs
from benchmarks.lab import everybody, fill, in_memory, lab
from benchmarks.needs import LeftOut, program
from benchmarks.processes import cpu_seconds, used
from benchmarks.rounds import in_turn
from benchmarks.rows import Pair, Plan, Row
from benchmarks.samples import Sample
from hvsim.devnodes.library import node_library
from hvsim.toolstack.devices import qemu

SECONDS = 0.3
START_TIMEOUT = 20.0
AGAINST = "fio over NBD"

COMPARES = """\
A guest's program reads at random through blkfront, a real QEMU (xen-qdisk, raw) in Domain-0 serves
it above hvsim's device nodes; against fio's nbd engine over a Unix socket of qemu-nbd, the other
way in which a process of its own serves a disk, with the same block layer of QEMU below it and the
same image, in memory.  Nothing is pinned; each program waits as it does by default.  CPU: of every
process of the lab, against fio and qemu-nbd, per read."""


@dataclass(frozen=True)
class QdiskPlan(Plan):
    """`depth` reads on their way."""

    depth: int = 1


PLANS = tuple(
    QdiskPlan(f"4 KiB random read, depth {depth}", AGAINST, depth=depth) for depth in (1, 32)
)


def measure(plans: Sequence[QdiskPlan]) -> Sequence[Row]:
    """See `COMPARES`."""
    _need()
    with in_memory("qdisk.toml") as file, lab(file) as running, Jobs(running, "one") as one:
        image = file.with_name("one.img")
        fill(image)

        def ours(plan: QdiskPlan) -> Sample:
            with used(everybody(running)) as use:
                came = one.run("blocks", "read", 4096, "random", plan.depth, SECONDS)
            return use.sample(came.figure, came.operations)

        with _nbd_server(image) as (uri, pid):

            def pair(plan: QdiskPlan) -> Pair:
                theirs = _fio(uri, pid, plan.depth)
                return ours(plan), theirs

            return in_turn(plans, pair)


def _need() -> None:
    """Raises LeftOut for what the rows lack on this machine."""
    if qemu.program() is None:
        raise LeftOut(f"no QEMU with Xen support: {qemu.INSTALL}")
    if node_library() is None:
        raise LeftOut("the node library was not built: it needs a C compiler at `make setup`")
    program("qemu-nbd")
    engines = subprocess.run(
        [program("fio"), "--enghelp"], capture_output=True, text=True, check=False
    )
    if "nbd" not in engines.stdout.split():
        raise LeftOut("this fio was built without its nbd engine")


@contextmanager
def _nbd_server(image: Path) -> Iterator[tuple[str, int]]:
    """A read-only NBD server of *image*; its URI and pid.  Raises RuntimeError."""
    with tempfile.TemporaryDirectory(prefix="hvsim-bench-") as folder:
        socket = f"{folder}/nbd"
        argv = [program("qemu-nbd"), "-t", "-r", "-f", "raw", "-e", "4", "-k", socket, str(image)]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as server:
            try:
                deadline = time.monotonic() + START_TIMEOUT
                while not os.path.exists(socket):
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"{argv[0]} did not make its socket")
                    time.sleep(0.01)
                yield f"nbd+unix:///?socket={socket}", server.pid
            finally:
                server.terminate()


def _fio(uri: str, server: int, depth: int) -> Sample:
    """Random 4 KiB reads with fio's nbd engine."""
    before = cpu_seconds(server)
    argv = [
        program("fio"),
        "--name=reads",
        "--ioengine=nbd",
        f"--uri={uri}",
        "--rw=randread",
        "--bs=4k",
        "--size=64m",
        f"--iodepth={depth}",
        "--time_based",
        f"--runtime={SECONDS * 1000:.0f}ms",
        "--norandommap",
        "--output-format=json",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    reads = int(job["read"]["total_ios"])
    took = float(job["read"]["runtime"]) / 1e3
    spent = (float(job["usr_cpu"]) + float(job["sys_cpu"])) / 100 * float(job["job_runtime"]) / 1e3
    cpu = spent + cpu_seconds(server) - before
    return Sample(took / reads, cpu=cpu / reads)


GROUP = Group("qdisk", "a disk that a real QEMU serves", COMPARES, PLANS, measure)
