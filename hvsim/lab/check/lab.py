"""What the parts of a lab file say together: names, images, backends, memory, programs.

Each check answers a question that `hvsim up` would otherwise answer late, with half a lab
running. Nothing is started and nothing is written here.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hvsim.lab.check.backends import backend_faults
from hvsim.lab.check.daemons import daemon_faults
from hvsim.lab.check.devices import device_faults
from hvsim.lab.check.guests import guest_faults
from hvsim.lab.check.images import Declared, image_faults
from hvsim.lab.check.network import network_faults
from hvsim.lab.check.programs import program_faults
from hvsim.lab.devices import LabDevice
from hvsim.lab.locate import Locator
from hvsim.lab.model import DEFAULT_MEMORY, Domain, Image
from hvsim.lab.problems import Fault, Problem
from hvsim.lab.schema import place_of
from hvsim.names import domain as domain_names
from hvsim.names.size import mib_of

Images = Sequence[tuple[int, Image]]
Domains = Sequence[tuple[int, Domain]]
Devices = Sequence[tuple[int, LabDevice]]


class Checker:
    """The semantic checks of one lab file; images and domains come with their table's index."""

    def __init__(
        self,
        file: Path,
        shown: str,
        data: dict[str, Any],
        locator: Locator,
        run_dir: Path,
        *,
        alone: bool = False,
    ) -> None:
        """*run_dir* is where the lab would run, or runs; *alone*: there is one guest, and other
        domains that nobody told us of."""
        self.file = file
        self.shown = shown
        self.data = data
        self.locator = locator
        self.run_dir = run_dir
        self.alone = alone

    def check(self, images: Images, domains: Domains, devices: Devices = ()) -> list[Problem]:
        """Every problem found."""
        declared = Declared(images, self._spelled("image", "path"))
        refused = self._spelled("domain", "name") - {domain.name for _, domain in domains}
        if self.alone:
            for _, domain in domains:
                refused |= {disk.backend for disk in domain.disks}
                refused |= {vif.backend for vif in domain.vifs}
        faults = chain(
            self._duplicate_names(domains),
            image_faults(declared, domains, self.run_dir, self._line),
            guest_faults(domains, declared),
            backend_faults(domains, refused),
            network_faults(domains),
            self._memory(domains),
            program_faults(domains, self.file.parent),
            device_faults(devices, domains, refused, self.file.parent),
            daemon_faults(self.data),
            self._store(domains),
        )
        return [self._at(*fault) for fault in faults]

    def _at(self, path: tuple[str | int, ...], text: str, remedy: str = "") -> Problem:
        place = "" if self.alone else place_of(path, self.data)
        return Problem(self.shown, self.locator.line(path), place, text, remedy)

    def _line(self, path: tuple[str | int, ...]) -> int:
        return self.locator.line(path)

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

    def _duplicate_names(self, domains: Domains) -> Iterator[Fault]:
        first: dict[str, int] = {domain_names.DOM0: -1}
        for index, domain in domains:
            if domain.name not in first:
                first[domain.name] = index
                continue
            where = self.locator.line(("domain", first[domain.name]))
            said = f"is that of the domain at line {where}" if where else "belongs to dom0"
            yield (
                ("domain", index),
                f"its name {domain.name!r} {said}",
                'give it another: name = "..." (with config: in overrides)',
            )

    def _memory(self, domains: Domains) -> Iterator[Fault]:
        table = self.data.get("lab")
        given = table.get("memory", DEFAULT_MEMORY) if isinstance(table, dict) else DEFAULT_MEMORY
        try:
            machine = mib_of(given)
        except (ValueError, TypeError):
            return
        wanted = sum(domain.memory for _, domain in domains)
        if wanted > machine:
            yield (
                ("lab", "memory"),
                f"the domains want {wanted} MiB, the machine has {machine}",
                f"set memory = {wanted + 256} in [lab], or make domains smaller",
            )

    def _store(self, domains: Domains) -> Iterator[Fault]:
        """Each disk costs nodes and watches of the domain that serves it."""
        store = self.data.get("store")
        quota = store.get("quota") if isinstance(store, dict) else None
        limits = quota if isinstance(quota, dict) else {}
        served: dict[str, int] = {}
        for _, domain in domains:
            for disk in domain.disks:
                if not domain_names.is_dom0(disk.backend):
                    served[disk.backend] = served.get(disk.backend, 0) + 1
        for index, domain in domains:
            disks = served.get(domain.name, 0)
            for what, each, own, default in _COSTS:
                limit = limits.get(what, default)
                wanted = disks * each + own
                if isinstance(limit, int) and disks and wanted > limit:
                    yield (
                        ("domain", index),
                        f"it serves {disks} disks, which take about {wanted} {what} of its store; "
                        f"it may have {limit}",
                        f"set {what} = {wanted + wanted // 4} in [store.quota], or spread the "
                        "disks over several driver domains",
                    )


_COSTS = (("nodes", 33, 10, 1000), ("watches", 2, 8, 128))
"""What a disk costs the domain that serves it, what the domain has without any, and the default."""
