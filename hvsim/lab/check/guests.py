"""What the toolstack would refuse of a guest, asked before: by the toolstack's own functions."""

from collections.abc import Iterator, Sequence

from hvsim.lab.check.files import image_fault
from hvsim.lab.check.images import Declared
from hvsim.lab.model import Domain
from hvsim.lab.near_miss import nearest
from hvsim.lab.problems import Fault
from hvsim.toolstack.config import DiskConfig
from hvsim.toolstack.devices.numbering import twice
from hvsim.toolstack.devices.vbd import refusals as of_disks
from hvsim.toolstack.devices.vif import refusals as of_vifs
from hvsim.toolstack.domain import refusals
from hvsim.toolstack.host.refusal import Refusal


def guest_faults(domains: Sequence[tuple[int, Domain]], declared: Declared) -> Iterator[Fault]:
    """Every fault; domains come with their table's index."""
    for index, domain in domains:
        place = ("domain", index)
        for refusal in _refusals(domain, declared):
            text = f"{refusal.place}: {refusal.text}"
            yield place, text, _remedy(domain, declared, refusal)


def _refusals(domain: Domain, declared: Declared) -> Iterator[Refusal]:
    config = domain.guest
    if config is None:
        return
    yield from refusals.before_domain(config)
    refused = refusals.kernel(config)
    if refused is not None:
        yield refused
    yield from twice(config, (of_disks.NUMBERING, of_vifs.NUMBERING))
    for disk in config.disks:
        refused = of_disks.disk(disk) or _image(domain, declared, disk)
        if refused is not None:
            yield refused
    for number, vif in zip(of_vifs.devids(config.vifs), config.vifs, strict=True):
        refused = of_vifs.vif(vif, number)
        if refused is not None:
            yield refused


def _image(domain: Domain, declared: Declared, disk: DiskConfig) -> Refusal | None:
    """What is wrong with the image of a disk; one that `hvsim up` makes is right, one whose own
    table is wrong was told."""
    target = disk.target or ""
    image = declared.image(target)
    if image is None and target in declared.spelled:
        return None
    path = image.path if image else domain.directory / target
    fault = image_fault(path) if target and image is None else None
    if fault is not None:
        return Refusal(f"disk {disk.vdev}", *fault)
    if image is not None and (image.scratch or not path.is_file()):
        return None
    return of_disks.image(disk, str(path))


def _remedy(domain: Domain, declared: Declared, refusal: Refusal) -> str:
    """That of the refusal, unless a declared image has nearly the name of the one that is not
    there."""
    for disk in domain.disks:
        if refusal.place != f"disk {disk.vdev}" or "[[image]]" not in refusal.remedy:
            continue
        near = nearest(disk.target, sorted(declared.spelled))
        if near is not None:
            return f"did you mean {near!r}?"
    return refusal.remedy
