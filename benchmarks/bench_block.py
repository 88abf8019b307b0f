"""The block rows: 4 KiB random reads of a page-cached image, through the public API, against C.

Ours is a real hypervisor with two domains, blkback in one process and blkfront in another; the
handshake is made in one process, which then forks, so that nothing but the data path is measured.
The reference is c/blkring.c with the same image, depth and number of reads.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import ROUNDS, Row, paired
from hvsim.domain.domain import Domain
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.request import READ
from tests.drivers.test_block_device import Rig
from tests.support.hv import Hypervisor

HERE = Path(__file__).parent
IMAGE_BYTES = 32 << 20
PAGE_SECTORS = 8


def build_reference(where: Path) -> Path:
    """Compile the yardstick.  Raises: RuntimeError without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("the block rows need a C compiler for their reference")
    program = where / "blkring"
    include = f"-I{HERE.parent / 'hvsim' / 'native'}"
    source = HERE / "c" / "blkring.c"
    subprocess.run([compiler, "-O2", include, str(source), "-o", str(program)], check=True)
    return program


def reference(program: Path, image: Path, depth: int, reads: int) -> float:
    """Seconds per read of the C program."""
    ran = subprocess.run(
        [str(program), str(image), str(depth), str(reads)],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(ran.stdout) / 1e9


@contextmanager
def serving(back: Domain) -> Iterator[None]:
    """The backend domain runs in a process of its own meanwhile."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                back.vcpu.block()
                back.vcpu.dispatch()
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def ours(disk: BlockFront, depth: int, reads: int) -> float:
    """Seconds per read through `BlockFront`: `read` at depth 1, `submit` and `wait` beyond."""
    dice = random.Random(depth)
    last = disk.sectors // PAGE_SECTORS - 1
    sectors = [dice.randint(0, last) * PAGE_SECTORS for _ in range(reads)]
    start = time.perf_counter()
    if depth == 1:
        for sector in sectors:
            disk.read(sector, PAGE_SECTORS)
    else:
        pending = [disk.submit(READ, sector, PAGE_SECTORS) for sector in sectors[:depth]]
        for number, sector in enumerate(sectors[depth:]):
            slot = number % depth
            pending[slot].wait()
            pending[slot] = disk.submit(READ, sector, PAGE_SECTORS)
        for request in pending:
            request.wait()
    return (time.perf_counter() - start) / reads


def rows(rounds: int = ROUNDS) -> list[Row]:
    """Depth 1 and depth 32."""
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        program = build_reference(where)
        image = where / "image"
        image.write_bytes(os.urandom(IMAGE_BYTES))
        with Hypervisor(where) as hv:
            rig = Rig(hv, image)
            back = rig.domain()
            disk = rig.start(back)
            with serving(back):
                result = [
                    paired(
                        f"4 KiB random reads, depth {depth}",
                        lambda depth=depth, reads=reads: ours(disk, depth, reads),  # type: ignore[misc]
                        lambda depth=depth, reads=reads: reference(  # type: ignore[misc]
                            program, image, depth, reads
                        ),
                        floor=floor,
                        rounds=rounds,
                    )
                    for depth, reads, floor in ((1, 5_000, 0.5), (32, 20_000, 0.2))
                ]
            for dom in rig.live:
                if dom._frontends is not None:
                    dom._frontends.stop()
                if dom._backends is not None:
                    dom._backends.stop()
        return result


if __name__ == "__main__":
    from benchmarks.report import table

    print(table(rows()))
