"""What reads the messages of a birth is made once, and shared by every child."""

import subprocess
import sys

PROGRAM = """
import gc, os
from hvsim.spawn import readers
from hvsim.wire.typed import BadMessage, read

def dirty():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))

def grown():
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        before = dirty()
        for kind in readers.KINDS:
            try:
                read(kind, {})
            except BadMessage:
                pass
        os.write(theirs, str(dirty() - before).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(ours, 100))

gc.disable()
gc.freeze()
without = grown()
readers.make()
gc.freeze()
print(without, grown())
"""


def test_a_child_reads_them_from_shared_pages() -> None:
    """Red when `make` reads nothing."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    without, made = map(int, done.stdout.split())
    assert made < without / 2, f"{made} KiB, and {without} KiB without"
