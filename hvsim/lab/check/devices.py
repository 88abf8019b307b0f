"""Devices of the lab's own kinds: are both halves there, and the domains that have them?"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hvsim.lab.devices import LabDevice
from hvsim.lab.model import Domain
from hvsim.lab.modules import missing
from hvsim.lab.near_miss import did_you_mean
from hvsim.lab.problems import Fault
from hvsim.names import device as device_names
from hvsim.names.domain import is_dom0


def device_faults(
    devices: Sequence[tuple[int, LabDevice]],
    domains: Sequence[tuple[int, Domain]],
    refused: set[str],
    directory: Path,
) -> Iterator[Fault]:
    """Every fault; *refused* are domains that were refused already, *directory* the lab file's."""
    known = {domain.name: domain for _, domain in domains}
    first: dict[str, LabDevice] = {}
    for index, device in devices:
        place = ("device", index)
        if device.type in device_names.OF_XEN:
            yield (*_xens(index, device.type),)
            continue
        yield from _halves(index, device, directory)
        other = first.setdefault(device.type, device)
        for half in ("frontend", "backend"):
            mine, theirs = getattr(device, half), getattr(other, half)
            if mine and theirs and mine != theirs:
                yield (
                    (*place, half),
                    f"another [[device]] says that the {half} of {device.type} is {theirs}",
                    "give the other kind another type",
                )
        yield from _domains(index, device, known, refused)


def _xens(index: int, kind: str) -> Fault:
    remedy = "call it something that Xen has not"
    setting = device_names.words(kind).setting
    if setting:
        remedy = f"{remedy}; such a device of Xen's stands in {setting} = [...] of a domain"
    return ("device", index, "type"), f"{kind!r} is the name of a kind that Xen has", remedy


def _halves(index: int, device: LabDevice, directory: Path) -> Iterator[Fault]:
    place = ("device", index)
    if not device.frontend and not device.backend:
        yield (
            (*place, "type"),
            f"nobody declares what {device.type!r} is",
            'name its halves: frontend = "module:Class", backend = "module:Class"',
        )
        return
    for half in ("frontend", "backend"):
        reference = getattr(device, half)
        if not reference:
            yield (
                place,
                f"a device has two halves, and the {half} is missing",
                f'add {half} = "module:Class"',
            )
            continue
        if fault := missing(reference, (directory,)):
            yield ((*place, half), *fault)


def _domains(
    index: int, device: LabDevice, known: dict[str, Domain], refused: set[str]
) -> Iterator[Fault]:
    drivers = sorted(name for name, domain in known.items() if domain.is_driver)
    place = ("device", index, "served_by")
    name = device.served_by
    if name not in refused:
        if is_dom0(name) or name not in known:
            dom0 = "dom0 serves Xen's own kinds alone" if is_dom0(name) else ""
            yield (
                place,
                dom0 or f"{name!r} names no domain",
                did_you_mean(name, drivers) or 'declare a [[domain]] with role = "driver"',
            )
        elif not known[name].is_driver:
            yield place, f"{name!r} is no driver domain", 'add role = "driver" to it'
    for user in device.used_by:
        if user in refused:
            continue
        if user == name:
            yield ("device", index, "used_by"), f"{user!r} serves it", "name another domain"
        elif user not in known:
            remedy = did_you_mean(user, sorted(known)) or "name a [[domain]]"
            yield ("device", index, "used_by"), f"{user!r} names no domain", remedy
