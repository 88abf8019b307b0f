"""What a lab needs of the machine, compared with what there is, before anything is started.

The needs were measured (a hypervisor with 60 idle guests has 694 descriptors open, the lab 67
processes and 274 MiB; one with a guest of one disk, which does not come up with 64 descriptors, 8
and 66 MiB) and are bounds from below: who has less cannot come up.  What runs out in spite of that
is named by who meets it (``hvsim.shortage``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hvsim import shortage
from hvsim.errors import HvsimError
from hvsim.lab.model import Lab
from hvsim.spawn.sandbox import refusal
from hvsim.wire.walls import ALL

SPACE: Final = 4 * shortage.MIB
"""Bytes for logs, consoles and the store's journal, however small the lab is."""
FILES_ON_DISK: Final = 64
DESCRIPTORS: Final = (60, 10)
"""Of the hypervisor: for dom0, and for each domain."""
PROCESSES: Final = (8, 1)
MEMORY: Final = (48 * shortage.MIB, 3 * shortage.MIB)
"""Bytes of the lab's processes, guests at rest."""


def check(lab: Lab, base: Path) -> None:
    """Raises: HvsimError: *lab* cannot come up with its run directory in *base*; one line for each
    thing that is short, with the number and the remedy."""
    lines = list(found(lab, base))
    if lines:
        raise HvsimError(*lines)


def found(lab: Lab, base: Path) -> Iterator[str]:
    """A sentence for each shortage."""
    domains = len(lab.domains)
    yield from _space(base)
    wanted = _need(DESCRIPTORS, domains)
    if (limit := shortage.files_limit()) < wanted:
        yield (
            f"too few open files: a process may have {limit} (ulimit -n), and this lab needs at "
            f"least {wanted}; allow more: `ulimit -n {max(1024, 2 * wanted)}`"
        )
    wanted = _need(PROCESSES, domains)
    for left, limit_text in shortage.processes_left():
        if left < wanted:
            yield f"too few processes: this lab needs {wanted}; {limit_text}"
    wanted = _need(MEMORY, domains)
    if (left := shortage.memory_left()) < wanted:
        yield (
            f"too little memory: {left // shortage.MIB} MiB are available, and this lab needs "
            f"{wanted // shortage.MIB}, not counting what its guests fill; end "
            "something, or allow more (memory.max of the cgroup)"
        )
    yield from _namespaces(lab)


def _need(amounts: tuple[int, int], domains: int) -> int:
    base, each = amounts
    return base + each * domains


def _space(base: Path) -> Iterator[str]:
    place = shortage.mount_point(str(base))
    try:
        free, files = shortage.space_left(place)
    except OSError:
        return  # who makes the run directory will say so
    if free < SPACE or 0 <= files < FILES_ON_DISK:
        yield (
            f"no space left on {place}: {free / shortage.MIB:.1f} MiB"
            + (f" and {files} files" if files >= 0 else "")
            + f" are free, and a lab's logs need {SPACE // shortage.MIB} MiB and {FILES_ON_DISK} "
            "files; free some, or set HVSIM_RUN_DIR to a directory on another file system"
        )


def _namespaces(lab: Lab) -> Iterator[str]:
    for domain in lab.creation_order:
        if domain.walls == ALL:
            forbidden = shortage.forbidden_namespace(("user-ns", "pid-ns", "mount-ns"))
            if forbidden is not None:
                yield f"domain {domain.name}: {refusal.sentence(*forbidden)}"
            return
