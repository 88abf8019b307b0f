"""One path at a time between two guests of a real lab: events, hypercalls, block reads."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.jobs import Jobs
from benchmarks.references import eventfd_ping_pong, seqpacket_ping_pong
from benchmarks.report import Row, paired
from hvsim.lab.load import load
from hvsim.lab.up import bring_up

HERE = Path(__file__).parent
TRIPS = 20_000
READS = {1: 20_000, 32: 60_000}


def run() -> Iterator[Row]:
    """The rows of issue "speed" that compare a path with its raw counterpart."""
    lab = load(HERE / "labs" / "pair.toml", name=f"bench-pair-{os.getpid()}")
    running = bring_up(lab)
    try:
        one = Jobs(running, "one")
        two = Jobs(running, "two")
        port = two.run(f"listen {running.domids['one']}")

        def ping() -> float:
            return one.run(f"ping {running.domids['two']} {port:.0f} {TRIPS}")

        # A port belongs to its two ends for life: it can be bound anew after every measurement.
        yield paired(
            "event channel round trip, direct", ping, lambda: eventfd_ping_pong(TRIPS), floor=0.5
        )
        yield paired(
            "hypercall round trip",
            lambda: one.run(f"hypercall {TRIPS}"),
            lambda: seqpacket_ping_pong(TRIPS),
            floor=0.5,
        )
        image = running.run.images / "bench.img"
        image.write_bytes(os.urandom(1 << 20) * 64)  # no holes, and in the page cache
        with _yardstick() as program:
            for depth, floor in ((1, 0.5), (32, 0.2)):

                def ours(depth: int = depth) -> float:
                    return one.run(f"reads {depth} {READS[depth]}")

                def reference(depth: int = depth) -> float:
                    command = [program, str(image), str(depth), str(READS[depth])]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    return float(done.stdout) * 1e-9

                yield paired(f"4 KiB random reads, depth {depth}", ours, reference, floor=floor)
    finally:
        running.down()


@contextmanager
def _yardstick() -> Iterator[str]:
    """The C program, compiled; raises RuntimeError where there is no compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise RuntimeError("the block rows need a C compiler (cc) for their reference")
    with tempfile.TemporaryDirectory(prefix="hvsim-bench-") as folder:
        program = f"{folder}/blkring"
        source = HERE / "c" / "blkring.c"
        native = HERE.parent / "hvsim" / "native"
        subprocess.run(
            [compiler, "-O2", "-std=gnu11", f"-I{native}", "-o", program, str(source)], check=True
        )
        yield program
