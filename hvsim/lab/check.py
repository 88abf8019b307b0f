"""What the parts of a lab file say together: names, images, backends, memory, programs.

Each check answers a question that `hvsim up` would otherwise answer late, with half a lab
running. Nothing is started and nothing is written here.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hvsim.domain.sandbox.root import PATH
from hvsim.lab.check_daemons import daemon_faults
from hvsim.lab.check_files import file_fault, image_fault
from hvsim.lab.check_network import network_faults
from hvsim.lab.locate import Locator
from hvsim.lab.model import DEFAULT_MEMORY, Disk, Domain, Image
from hvsim.lab.problems import Problem
from hvsim.lab.schema import did_you_mean, place_of
from hvsim.lab.sizes import mib_of
from hvsim.toolstack import device_model

DOM0_NAMES = ("", "0", "Domain-0")
"""How a disk line spells "served by dom0"."""

Images = Sequence[tuple[int, Image]]
Domains = Sequence[tuple[int, Domain]]


class Checker:
    """The semantic checks of one lab file; images and domains come with their table's index."""

    def __init__(self, file: Path, shown: str, data: dict[str, Any], locator: Locator) -> None:
        self.file = file
        self.shown = shown
        self.data = data
        self.locator = locator

    def check(self, images: Images, domains: Domains) -> list[Problem]:
        """Every problem found."""
        found: list[Problem] = []
        for problems in (
            self._duplicate_names(domains),
            self._duplicate_images(images),
            self._images(images),
            self._disks(domains),
            self._backends(domains),
            self._shared_images(images, domains),
            self._network(domains),
            self._memory(domains),
            self._programs(domains),
            self._files(domains),
            self._device_models(domains),
            self._daemons(),
        ):
            found += problems
        return found

    def _at(self, path: tuple[str | int, ...], text: str, remedy: str = "") -> Problem:
        place = place_of(path, self.data)
        return Problem(self.shown, self.locator.line(path), place, text, remedy)

    def _spelled(self, kind: str, key: str) -> set[str]:
        """What the tables of a kind call themselves, also those that were refused: what names
        them is no second fault."""
        tables = self.data.get(kind)
        found = (
            [table.get(key) for table in tables if isinstance(table, dict)]
            if isinstance(tables, list)
            else []
        )
        return {name for name in found if isinstance(name, str)}

    def _duplicate_names(self, domains: Domains) -> Iterator[Problem]:
        first: dict[str, int] = {"Domain-0": -1}
        for index, domain in domains:
            if domain.name not in first:
                first[domain.name] = index
                continue
            where = self.locator.line(("domain", first[domain.name]))
            said = f"is that of the domain at line {where}" if where else "belongs to dom0"
            yield self._at(
                ("domain", index),
                f"its name {domain.name!r} {said}",
                'give it another: name = "..." (with config: in overrides)',
            )

    def _duplicate_images(self, images: Images) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, image in images:
            key = f"scratch {image.path.name}" if image.scratch else os.path.realpath(image.path)
            if key in first:
                where = self.locator.line(("image", first[key]))
                yield self._at(
                    ("image", index, "path"),
                    f"{image.name!r} is the same image as the one at line {where}",
                    "remove one, or give it a path of its own",
                )
            first.setdefault(key, index)

    def _images(self, images: Images) -> Iterator[Problem]:
        for index, image in images:
            place = ("image", index, "path")
            if image.scratch:
                continue
            if os.path.lexists(image.path) or image_fault(image.path):
                yield from self._existing_image(place, image)
            elif image.size is None:
                yield self._at(
                    place,
                    f"the image {image.path} does not exist",
                    'create it, or add size = "64M" (it is then made at `hvsim up`)',
                )
            elif not os.access(image.path.parent, os.W_OK):
                yield self._at(
                    place,
                    f"the image cannot be made in {image.path.parent}",
                    "make the directory writable, or add scratch = true",
                )

    def _existing_image(self, place: tuple[str | int, ...], image: Image) -> Iterator[Problem]:
        fault = image_fault(image.path)
        if fault is not None:
            yield self._at(place, *fault)
        elif not os.path.exists(image.path):
            yield self._at(place, f"{image.path} is a link to nothing", "correct the link")
        elif not os.access(image.path, os.R_OK):
            yield self._at(
                place,
                f"the image {image.path} cannot be read",
                "give yourself the right to read it",
            )

    def _disks(self, domains: Domains) -> Iterator[Problem]:
        declared = self._spelled("image", "path")
        for index, domain in domains:
            for disk in domain.disks:
                if not disk.target or disk.target in declared:
                    continue
                path = domain.directory / disk.target
                fault = image_fault(path)
                if fault is not None:
                    yield self._at(("domain", index), f"disk {disk.vdev}: {fault[0]}", fault[1])
                elif not os.path.exists(path):
                    remedy = did_you_mean(disk.target, sorted(declared)) if declared else ""
                    hint = f'add [[image]] path = "{disk.target}" size = "64M" scratch = true'
                    yield self._at(
                        ("domain", index),
                        f"disk {disk.vdev}: the image {path} does not exist",
                        remedy if remedy.startswith("did") else hint,
                    )

    def _device_models(self, domains: Domains) -> Iterator[Problem]:
        """A disk of another format than raw is served by QEMU, which must be there."""
        for index, domain in domains:
            for disk in domain.disks:
                in_dom0 = disk.backend in DOM0_NAMES
                if disk.qemu and in_dom0 and device_model.program() is None:
                    yield self._at(
                        ("domain", index),
                        f"disk {disk.vdev}: QEMU is to serve it, and it is not installed",
                        device_model.INSTALL,
                    )

    def _backends(self, domains: Domains) -> Iterator[Problem]:
        drivers = {domain.name for _, domain in domains if domain.is_driver}
        others = {domain.name for _, domain in domains} - drivers
        refused = self._spelled("domain", "name") - drivers - others
        for index, domain in domains:
            devices = [(f"disk {disk.vdev}", disk.backend) for disk in domain.disks]
            devices += [(f"vif {number}", vif.backend) for number, vif in enumerate(domain.vifs)]
            for what, name in devices:
                if name in DOM0_NAMES or name in refused:
                    continue
                if name in drivers and name != domain.name:
                    continue
                place = ("domain", index)
                if name == domain.name:
                    yield self._at(
                        place,
                        f"{what}: it is its own backend",
                        "name another driver domain in backend=",
                    )
                elif name in others:
                    yield self._at(
                        place,
                        f"{what}: backend={name} is no driver domain",
                        f'add role = "driver" to the domain {name!r}',
                    )
                else:
                    yield self._at(
                        place,
                        f"{what}: backend={name} names no domain",
                        did_you_mean(name, sorted(drivers))
                        or 'declare a [[domain]] with role = "driver"',
                    )

    def _shared_images(self, images: Images, domains: Domains) -> Iterator[Problem]:
        """A writable image belongs to one disk, as Xen's block script has it."""
        declared = {image.name: image for _, image in images}
        users: dict[str, tuple[str, Disk]] = {}
        for index, domain in domains:
            for disk in domain.disks:
                if not disk.target:
                    continue
                image = declared.get(disk.target)
                key = (
                    f"scratch {image.path.name}"
                    if image and image.scratch
                    else os.path.realpath(image.path if image else domain.directory / disk.target)
                )
                earlier = users.setdefault(key, (domain.name, disk))
                if earlier[1] is disk or (earlier[1].readonly and disk.readonly):
                    continue
                yield self._at(
                    ("domain", index),
                    f"disk {disk.vdev}: the image {disk.target} is disk "
                    f"{earlier[1].vdev} of {earlier[0]!r} too",
                    "give each its own image, or make both access=ro",
                )

    def _network(self, domains: Domains) -> Iterator[Problem]:
        for path, text, remedy in network_faults(domains):
            yield self._at(path, text, remedy)

    def _memory(self, domains: Domains) -> Iterator[Problem]:
        table = self.data.get("lab")
        given = table.get("memory", DEFAULT_MEMORY) if isinstance(table, dict) else DEFAULT_MEMORY
        try:
            machine = mib_of(given)
        except (ValueError, TypeError):
            return
        wanted = sum(domain.memory for _, domain in domains)
        if wanted > machine:
            yield self._at(
                ("lab", "memory"),
                f"the domains want {wanted} MiB, the machine has {machine}",
                f"set memory = {wanted + 256} in [lab], or make domains smaller",
            )

    def _programs(self, domains: Domains) -> Iterator[Problem]:
        for index, domain in domains:
            if domain.program is None:
                continue
            if "exec" in domain.args and shutil.which(domain.args["exec"][0], path=PATH) is None:
                yield self._at(
                    ("domain", index, "program"),
                    f"there is no program {domain.args['exec'][0]!r} in {PATH}",
                    "install it, or give its whole path",
                )
            module = domain.program.partition(":")[0]
            if not module_exists(module, (self.file.parent, domain.directory)):
                yield self._at(
                    ("domain", index, "program"),
                    f"there is no module {module!r}",
                    "put it next to the lab file, or name one of domains.guests",
                )

    def _daemons(self) -> Iterator[Problem]:
        for path, text, remedy in daemon_faults(self.data):
            yield self._at(path, text, remedy)

    def _files(self, domains: Domains) -> Iterator[Problem]:
        for index, domain in domains:
            for path, _ in domain.files:
                fault = file_fault(path)
                if fault is not None:
                    yield self._at(("domain", index, "files"), *fault)


def module_exists(module: str, extra: Sequence[Path]) -> bool:
    """Can `module` be found on the path of a domain? Looks at files only and runs nothing."""
    path: list[str] | None = [*map(str, extra), *sys.path]
    first, *_ = parts = module.split(".")
    for part in parts:
        spec = PathFinder.find_spec(part, path)
        if spec is None and part is first:
            spec = find_spec(part)  # an editable install has a finder of its own
        if spec is None:
            return False
        path = list(spec.submodule_search_locations or [])
    return True
