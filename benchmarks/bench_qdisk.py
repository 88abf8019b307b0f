"""4 KiB reads through blkfront and a real QEMU's qdisk, against NBD from the same image.

The reference is fio's nbd engine on a Unix socket of qemu-nbd (nbdkit where there is none): the
other way in which a process of its own serves a disk to another, with the same block layer below.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.jobs import Jobs
from benchmarks.report import Row, paired
from hvsim.lab.load import load
from hvsim.lab.up import bring_up
from hvsim.native import node_library
from hvsim.toolstack import device_model

HERE = Path(__file__).parent
READS = {1: 4_000, 32: 12_000}
ROUNDS = 3
START_TIMEOUT = 20.0


def run() -> Iterator[Row]:
    """A row for each depth; none, and a word why, where a program is missing."""
    missing = _missing()
    if missing:
        print(f"  left out: {missing}", file=sys.stderr, flush=True)
        return
    running = bring_up(load(HERE / "labs" / "qdisk.toml", name=f"bench-qdisk-{os.getpid()}"))
    try:
        one = Jobs(running, "one")
        image = running.run.images / "bench.img"
        with open(image, "r+b") as file:  # no holes, and in the page cache
            file.write(os.urandom(1 << 20) * 64)
        with _nbd_server(image) as uri:
            for depth, total in READS.items():

                def ours(depth: int = depth, total: int = total) -> float:
                    return one.run(f"reads {depth} {total}")

                def reference(depth: int = depth, total: int = total) -> float:
                    return _fio(uri, depth, total)

                yield paired(
                    f"4 KiB reads, blkfront on QEMU qdisk, depth {depth}",
                    ours,
                    reference,
                    floor=None,
                    rounds=ROUNDS,
                )
    finally:
        running.down()


def _missing() -> str:
    """What the rows lack on this machine, "" for nothing."""
    if device_model.program() is None:
        return f"no QEMU: {device_model.INSTALL}"
    if node_library() is None:
        return "the node library was not built: it needs a C compiler at `make setup`"
    if shutil.which("fio") is None:
        return "no fio (apt install fio)"
    engines = subprocess.run(["fio", "--enghelp"], capture_output=True, text=True, check=False)
    if "nbd" not in engines.stdout.split():
        return "this fio was built without its nbd engine"
    if not (shutil.which("qemu-nbd") or shutil.which("nbdkit")):
        return "neither qemu-nbd nor nbdkit (apt install qemu-utils)"
    return ""


@contextmanager
def _nbd_server(image: Path) -> Iterator[str]:
    """A read-only NBD server of *image*; yields its URI.  Raises RuntimeError."""
    with tempfile.TemporaryDirectory(prefix="hvsim-bench-") as folder:
        socket = f"{folder}/nbd"
        if shutil.which("qemu-nbd"):
            argv = ["qemu-nbd", "-t", "-r", "-f", "raw", "-e", "4", "-k", socket, str(image)]
        else:
            argv = ["nbdkit", "-f", "-r", "-U", socket, "file", str(image)]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as server:
            try:
                deadline = time.monotonic() + START_TIMEOUT
                while not os.path.exists(socket):
                    if server.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"{argv[0]} did not make its socket")
                    time.sleep(0.01)
                yield f"nbd+unix:///?socket={socket}"
            finally:
                server.terminate()


def _fio(uri: str, depth: int, total: int) -> float:
    """Random 4 KiB reads with fio's nbd engine; seconds per read."""
    argv = [
        "fio",
        "--name=reads",
        "--ioengine=nbd",
        f"--uri={uri}",
        "--rw=randread",
        "--bs=4k",
        "--size=64m",
        f"--iodepth={depth}",
        f"--number_ios={total}",
        "--randrepeat=1",
        "--norandommap",
        "--output-format=json",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    text = done.stdout[done.stdout.index("{") :]
    job = json.loads(text)["jobs"][0]["read"]
    return 1.0 / float(job["iops"])
