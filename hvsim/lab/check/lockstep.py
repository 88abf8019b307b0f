"""What of a lab cannot take turns, so that no seed could say when it does what: said before
anything of it is started."""

from collections.abc import Iterator
from typing import Final

from hvsim import textfile
from hvsim.drivers.net.frames import own_frames
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.check.backends import QDISK_PROGRAM
from hvsim.lab.locate import Locator
from hvsim.lab.model import Domain, Lab
from hvsim.lab.problems import Fault, LabFileError, Problem
from hvsim.names.domain import is_dom0
from hvsim.toolstack.domain.programs import DRIVER_PROGRAM

STACKS: Final = "domains.guests."
"""Programs whose network stack is Linux' begin so,"""
PACKETS: Final = ("domains.guests.ping:main",)
"""but for those that pass frames themselves."""
_FRAMES: Final = (
    'have frames passed without Linux: frames = "own" in the args of the driver domain that serves '
    "it, and of the guest, whose program uses NetFront as domains.guests.ping does; or take the "
    "vif out"
)


def lockstep_problems(lab: Lab) -> list[Problem]:
    """Everything in *lab* that cannot take turns; empty when all of it can."""
    locator = _Lines(lab)
    found = [
        Problem(str(lab.file), locator.line(path), place, f"--lockstep: {text}", remedy)
        for place, (path, text, remedy) in _faults(lab)
    ]
    return sorted(found)


def refuse(lab: Lab) -> None:
    """Raises: LabFileError for a lab of which something cannot take turns."""
    if problems := lockstep_problems(lab):
        raise LabFileError(problems)


class _Lines:
    """The lines of the lab's file; 0 for what has none in it."""

    def __init__(self, lab: Lab) -> None:
        try:
            self._locator: Locator | None = Locator(textfile.read(lab.file))
        except (OSError, textfile.Unreadable):
            self._locator = None

    def line(self, path: tuple[str | int, ...]) -> int:
        return self._locator.line(path) if self._locator is not None and path else 0


def _faults(lab: Lab) -> Iterator[tuple[str, Fault]]:
    for key, program in (("store", lab.store), ("console", lab.console)):
        if program != BUILTIN:
            text = f"the real {program} takes no turns"
            yield f"lab.{key}", (("lab", key), text, f'set {key} = "builtin"')
    domains = {domain.name: domain for domain in lab.domains}
    for index, domain in enumerate(lab.domains):
        for text, remedy in _of_domain(domain, domains):
            yield f"domain {domain.name!r}", (("domain", index), text, remedy)


def _of_domain(domain: Domain, domains: dict[str, Domain]) -> Iterator[tuple[str, str]]:
    if domain.program == QDISK_PROGRAM:
        yield "QEMU takes no turns", f'set program = "{DRIVER_PROGRAM}"'
    elif "exec" in domain.args:
        text = f"{domain.args['exec'][0]!r} is a program of the machine, which takes no turns"
        yield text, "give it a program in Python, which waits in its vCPU"
    for disk in domain.disks:
        if disk.qemu:
            yield (
                f"disk {disk.vdev}: QEMU serves it, which takes no turns",
                ("give it a raw image, and leave backendtype= out"),
            )
    for number, vif in enumerate(domain.vifs):
        by_dom0 = is_dom0(vif.backend)
        server = domains.get(vif.backend)
        if by_dom0 or server is None or not own_frames(server.args):
            who = "Domain-0" if by_dom0 else vif.backend
            yield f"vif {number}: the bridge of {who} is Linux', which takes no turns", _FRAMES
        elif not own_frames(domain.args) or _has_stack(domain.program):
            yield (
                f"vif {number}: the network stack behind it is Linux', which takes no turns",
                _FRAMES,
            )


def _has_stack(program: str | None) -> bool:
    """Whether it is one that comes with us, and speaks through sockets."""
    return program is not None and program.startswith(STACKS) and program not in PACKETS
