"""What the hypervisor says while it boots, against a real one's first lines."""

import re
from typing import Final

from hvsim.hypervisor.boot_text import dom0_lines, machine_lines
from hvsim.wire.boot import Boot, Dom0, Spawner
from tests.fidelity.recording import commands

OURS: Final = {
    "Xen version": "the program that this one is",
    "Bootloader:": "who starts it",
    "Command line:": "it has none",
    " Dom0 alloc.:": "there is no physical address to give",
}
"""Lines that begin as the real ones do and go on otherwise."""


def alike(line: str) -> str:
    """A line with its figures made equal."""
    return re.sub(r"\b[0-9a-f]{16}\b|\d+", "N", line)


def test_the_boot_lines_are_a_real_hypervisors() -> None:
    """In its words and in its order.  Seen red: with the one line that there was before."""
    (dmesg,) = commands("10-xl-dmesg.txt")
    real = [line.removeprefix("(XEN) ") for line in dmesg.output]
    dom0 = Dom0(memory_pages=1 << 16, max_vcpus=2)
    config = Boot(memory_pages=1 << 20, cpus=2, dom0=dom0, spawner=Spawner(argv=("spawn",)))
    ours = [*machine_lines(config, "a compiler"), *dom0_lines(dom0)]
    place = 0
    for line in ours:
        head = next((head for head in OURS if line.startswith(head)), None)
        found = [
            number
            for number, other in enumerate(real)
            if number >= place
            and (other.startswith(head) if head is not None else alike(other) == alike(line))
        ]
        assert found, line
        place = found[0]
