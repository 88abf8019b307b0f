"""Who serves whom: each device's backend is a domain that serves such devices."""

from collections.abc import Iterator, Sequence
from typing import Final

from hvsim.lab.model import Domain
from hvsim.lab.near_miss import did_you_mean
from hvsim.lab.problems import Fault
from hvsim.names.domain import is_dom0
from hvsim.toolstack.devices import qemu
from hvsim.toolstack.domain.programs import DRIVER_PROGRAM, NETWORK_PROGRAM

QDISK_PROGRAM: Final = "domains.qdisk:main"
DISK, QDISK, VIF = "disks", "disks that QEMU serves", "network interfaces"
SERVES: Final = {DRIVER_PROGRAM: DISK, NETWORK_PROGRAM: VIF, QDISK_PROGRAM: QDISK}
"""What the driver domains that come with us serve; another program may serve anything."""
_PROGRAM_OF: Final = {kind: program for program, kind in SERVES.items()}


def backend_faults(domains: Sequence[tuple[int, Domain]], refused: set[str]) -> Iterator[Fault]:
    """Every fault; *refused* are domains that were refused already: what names them is none."""
    known = {domain.name: domain for _, domain in domains}
    drivers = sorted(name for name, domain in known.items() if domain.is_driver)
    for index, domain in domains:
        place = ("domain", index)
        devices = [
            (f"disk {disk.vdev}", disk.backend, QDISK if disk.qemu else DISK)
            for disk in domain.disks
        ]
        devices += [(f"vif {number}", vif.backend, VIF) for number, vif in enumerate(domain.vifs)]
        for what, name, kind in devices:
            if is_dom0(name):
                if kind == QDISK and qemu.program() is None:
                    text = f"{what}: QEMU is to serve it, and it is not installed"
                    yield place, text, qemu.INSTALL
            elif name in refused:
                continue
            elif name == domain.name:
                yield (
                    place,
                    f"{what}: it is its own backend",
                    "name another driver domain in backend=",
                )
            elif name not in known:
                yield (
                    place,
                    f"{what}: backend={name} names no domain",
                    did_you_mean(name, drivers) or 'declare a [[domain]] with role = "driver"',
                )
            elif not known[name].is_driver:
                yield (
                    place,
                    f"{what}: backend={name} is no driver domain",
                    f'add role = "driver" to the domain {name!r}',
                )
            elif (serves := SERVES.get(known[name].program or DRIVER_PROGRAM, kind)) != kind:
                yield (
                    place,
                    f"{what}: backend={name} serves {serves}, not {kind}",
                    _other(kind, known, drivers),
                )


def _other(kind: str, known: dict[str, Domain], drivers: list[str]) -> str:
    """Which domain to name instead."""
    able = [name for name in drivers if SERVES.get(known[name].program or DRIVER_PROGRAM) == kind]
    if able:
        return f"name one that does: backend={able[0]}"
    return (
        f'declare a [[domain]] with role = "driver" and program = "{_PROGRAM_OF[kind]}", or leave '
        "backend= out for dom0"
    )
