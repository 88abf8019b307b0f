"""The images of a lab file: whether they are there or can be made, and that each is writable in one
place only, whatever names it goes by."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvsim.drivers.block import lock
from hvsim.lab.check.files import image_fault
from hvsim.lab.images import INSTALL, QEMU_IMG
from hvsim.lab.model import Disk, Domain, Image
from hvsim.lab.problems import Fault
from hvsim.toolstack.host.images import in_use, whose

Line = Callable[[tuple[str | int, ...]], int]


@dataclass(frozen=True, slots=True)
class Declared:
    """The images that the lab file declares.

    Attributes:
        images: those that make sense, with their table's index.
        spelled: what all of them are called, also those that were refused.
    """

    images: Sequence[tuple[int, Image]]
    spelled: set[str]

    def image(self, target: str) -> Image | None:
        """The one that disk lines call *target*; the last of several, as at `hvsim up`."""
        return {image.name: image for _, image in self.images}.get(target)

    def path(self, domain: Domain, disk: Disk) -> Path:
        """Where the image of a disk is, scratch images apart."""
        image = self.image(disk.target)
        return image.path if image else domain.directory / disk.target

    def identity(self, domain: Domain, disk: Disk) -> object:
        """What all names of one image have in common."""
        image = self.image(disk.target)
        if image is not None and image.scratch:
            return ("scratch", image.path.name)
        return identity_of(self.path(domain, disk))


def identity_of(path: Path) -> object:
    """The file itself where there is one, else its path without links."""
    try:
        return lock.identity(str(path))
    except (OSError, ValueError):
        return os.path.realpath(path)


def image_faults(
    declared: Declared,
    domains: Sequence[tuple[int, Domain]],
    run_dir: Path,
    line: Line,
) -> Iterator[Fault]:
    """Every fault; *run_dir* is where the lab would run, *line* tells where a table stands."""
    yield from _duplicates(declared, line)
    for index, image in declared.images:
        yield from _one(("image", index, "path"), image)
    yield from _shared(declared, domains)
    yield from _elsewhere(declared, domains, run_dir)


def _duplicates(declared: Declared, line: Line) -> Iterator[Fault]:
    first: dict[object, int] = {}
    for index, image in declared.images:
        key = ("scratch", image.path.name) if image.scratch else identity_of(image.path)
        earlier = first.get(key, first.get(("name", image.name)))
        first.setdefault(("name", image.name), index)
        if earlier is not None:
            where = line(("image", earlier))
            yield (
                ("image", index, "path"),
                f"{image.name!r} is the same image as the one at line {where}",
                "remove one, or give it a path of its own",
            )
        first.setdefault(key, index)


def _one(place: tuple[str | int, ...], image: Image) -> Iterator[Fault]:
    there = os.path.lexists(image.path) or image_fault(image.path) is not None
    if there and not image.scratch:
        yield from _existing(place, image)
        return
    if image.size is None:
        yield (
            place,
            f"the image {image.path} does not exist",
            'create it, or add size = "64M" (it is then made at `hvsim up`)',
        )
        return
    if not image.scratch and not image.path.parent.is_dir():
        yield (
            place,
            f"the image cannot be made: there is no directory {image.path.parent}",
            "make the directory, or add scratch = true",
        )
    elif not image.scratch and not os.access(image.path.parent, os.W_OK):
        yield (
            place,
            f"the image cannot be made in {image.path.parent}",
            "make the directory writable, or add scratch = true",
        )
    if image.format != "raw" and shutil.which(QEMU_IMG) is None:
        yield place, f"a {image.format} image is made by {QEMU_IMG}, which is not there", INSTALL


def _existing(place: tuple[str | int, ...], image: Image) -> Iterator[Fault]:
    fault = image_fault(image.path)
    if fault is not None:
        yield (place, *fault)
    elif not image.path.exists():
        yield place, f"{image.path} is a link that leads nowhere", "mend or remove the link"
    elif not os.access(image.path, os.R_OK):
        yield (
            place,
            f"the image {image.path} cannot be read",
            "give yourself the right to read it",
        )


def _shared(declared: Declared, domains: Sequence[tuple[int, Domain]]) -> Iterator[Fault]:
    """A writable image belongs to one disk, as Xen's block script has it."""
    users: dict[object, list[tuple[str, Disk]]] = {}
    for index, domain in domains:
        for disk in domain.disks:
            if not disk.target or may_share(declared, disk):
                continue
            key = declared.identity(domain, disk)
            for name, other in users.get(key, []):
                if other.readonly and disk.readonly:
                    continue
                yield (
                    ("domain", index),
                    f"disk {disk.vdev}: the image {disk.target} is disk "
                    f"{other.vdev} of {name!r} too",
                    "give each its own image, or make both access=ro; to share it all the same "
                    "add shared = true to its [[image]]",
                )
                break
            users.setdefault(key, []).append((domain.name, disk))


def may_share(declared: Declared, disk: Disk) -> bool:
    """Whether somebody said that a disk's image may be used by others at the same time."""
    image = declared.image(disk.target)
    return disk.shared or (image is not None and image.shared)


def _elsewhere(
    declared: Declared, domains: Sequence[tuple[int, Domain]], run_dir: Path
) -> Iterator[Fault]:
    """Images that another lab has at this moment."""
    owner = lock.owner_of(str(run_dir))
    for index, domain in domains:
        for disk in domain.disks:
            image = declared.image(disk.target)
            if not disk.target or (image and image.scratch) or may_share(declared, disk):
                continue
            path = str(declared.path(domain, disk))
            try:
                busy = lock.look(path, owner, readonly=disk.readonly)
                identity = lock.identity(path) if busy else None
            except (OSError, ValueError):
                continue
            if busy is None or identity is None:
                continue
            who = whose(busy, identity, run_dir)
            refusal = in_use(disk.vdev, path, who, busy.writes, disk.readonly)
            yield ("domain", index), f"{refusal.place}: {refusal.text}", refusal.remedy
