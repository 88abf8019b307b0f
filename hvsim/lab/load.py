"""A lab file is read and checked as a whole: all its faults are told at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvsim import textfile
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.check.lab import Checker
from hvsim.lab.devices import LabDevice
from hvsim.lab.devices import read as read_devices
from hvsim.lab.fitness import unfit_name
from hvsim.lab.guests import device_words, disks_of, parse_guest, vifs_of
from hvsim.lab.locate import Locator
from hvsim.lab.model import (
    DEFAULT_CPUS,
    DEFAULT_MEMORY,
    Domain,
    Image,
    Lab,
    LabFault,
    XlValue,
    render_lines,
)
from hvsim.lab.problems import LabFileError, Problem
from hvsim.lab.rundir import base_dir
from hvsim.lab.schema import place_of, schema_problems
from hvsim.lab.tables import parsed, source
from hvsim.names.size import bytes_of, mib_of
from hvsim.toolstack.config import DomainConfig
from hvsim.toolstack.domain.programs import DRIVER_PROGRAM
from hvsim.wire.lab_requests import File
from hvsim.wire.walls import ALL

KERNEL_PROGRAM = "domains.kernel:main"
"""What stands for the kernel of a domain whose program is one of this machine."""
_INLINE = (
    "name",
    "memory",
    "vcpus",
    "disk",
    "vif",
    "extra",
    "on_poweroff",
    "on_reboot",
    "on_crash",
)


def load(
    path: str | Path,
    *,
    name: str | None = None,
    store: str | None = None,
    console: str | None = None,
) -> Lab:
    """Read and check the lab file at `path`; `name`, `store` and `console` replace its own.

    Starts nothing and writes nothing. Raises LabFileError with every problem found: of the
    TOML syntax, of the schema, of the guests' configs and of what these say together.
    """
    file, text = source(Path(path))
    shown = str(path)
    data = parsed(text, shown)
    table = data.setdefault("lab", {})
    if isinstance(table, dict):
        given = {"store": store, "console": console}
        table.update({key: value for key, value in given.items() if value is not None})
    return _Loader(file.resolve(), shown, text, data).lab(name)


def load_tables(
    file: Path, shown: str, text: str, data: dict[str, Any], name: str | None = None
) -> Lab:
    """As `load`, of the tables *data* of a file that holds others as well, whose text is *text*."""
    return _Loader(file.resolve(), shown, text, data).lab(name)


def load_guest(path: str | Path) -> Lab:
    """A lab of one guest, whose xl.cfg(5) is at `path`: as `load`, but whom the guest names as a
    backend is not known."""
    file = Path(path)
    data: dict[str, Any] = {"lab": {}, "domain": [{"config": str(path)}]}
    loader = _Loader(Path.cwd() / "-", str(file), "", data)
    loader.alone = True
    return loader.lab("guest")


def _args(table: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a domain's program; those of one of this machine's are its words."""
    program = table.get("program")
    gateway = {"gateway": table["gateway"]} if "gateway" in table else {}
    return {**table.get("args", {}), **gateway, **(program if isinstance(program, dict) else {})}


class _Loader:
    """One reading of one file."""

    def __init__(self, file: Path, shown: str, text: str, data: dict[str, Any]) -> None:
        self.file = file
        self.shown = shown
        self.data = data
        self.locator = Locator(text)
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.run_dir = base_dir() / "-"
        self.alone = False

    def lab(self, name: str | None) -> Lab:
        self.problems += schema_problems(self.data, self.shown, self.locator)
        table: dict[str, Any] = self.data.get("lab", {})
        self.run_dir = base_dir() / self._name(name, table)
        unfit = None if self.alone else unfit_name(self._name(name, table), base_dir())
        if unfit is not None and not self.problems:
            self._wrong(("lab", "name"), *unfit)
        if self.problems:
            # What the schema refuses cannot be built; what stands beside it is still checked.
            self._check(*self._sound_parts(), self._devices())
            raise LabFileError(self.problems)
        images, domains = self._sound_parts()
        devices = self._devices()
        self._check(images, domains, devices)
        if self.problems:
            raise LabFileError(self.problems)
        return Lab(
            name=self._name(name, table),
            file=self.file,
            memory=mib_of(table.get("memory", DEFAULT_MEMORY)),
            cpus=table.get("cpus", DEFAULT_CPUS),
            trace=table.get("trace", False),
            seed=table.get("seed", 0),
            event_mode=table.get("event_mode", "direct"),
            handshake=table.get("handshake", "record"),
            images=tuple(image for _, image in images),
            domains=tuple(domain for _, domain in domains),
            devices=tuple(device for _, device in devices),
            store_quota=self.data.get("store", {}).get("quota", {}),
            store=table.get("store", BUILTIN),
            console=table.get("console", BUILTIN),
            warnings=tuple(sorted(self.warnings)),
            faults=tuple(
                LabFault(self.locator.line(("fault", index)), words)
                for index, words in enumerate(self.data.get("fault", ()))
            ),
            walls=table.get("walls", ALL),
        )

    def _name(self, name: str | None, table: object) -> str:
        """What the lab is called: what was asked for, what the file says, or the file's name."""
        said = table.get("name") if isinstance(table, dict) else None
        return name or (said if isinstance(said, str) else self.file.stem)

    def _sound_parts(self) -> tuple[list[tuple[int, Image]], list[tuple[int, Domain]]]:
        """The images and domains whose tables the schema did not refuse, with their index."""
        bad_lines = {problem.line for problem in self.problems}
        images = [(index, self._image(table)) for index, table in self._tables("image", bad_lines)]
        domains = []
        for index, table in self._tables("domain", bad_lines):
            domain = self._domain(index, table)
            if domain is not None:
                domains.append((index, domain))
        return images, domains

    def _devices(self) -> list[tuple[int, LabDevice]]:
        bad_lines = {problem.line for problem in self.problems}
        tables = self._tables("device", bad_lines)
        return read_devices(tables, self.file.parent, lambda fault: self._wrong(*fault))

    def _tables(self, kind: str, bad_lines: set[int]) -> list[tuple[int, dict[str, Any]]]:
        tables = self.data.get(kind)
        if not isinstance(tables, list):
            return []
        sound = []
        for index, table in enumerate(tables):
            if not isinstance(table, dict):
                continue
            places = [self.locator.line((kind, index))]
            places += [self.locator.line((kind, index, key)) for key in table]
            if not bad_lines.intersection(places):
                sound.append((index, table))
        return sound

    def _image(self, table: Mapping[str, Any]) -> Image:
        size = table.get("size")
        return Image(
            name=table["path"],
            path=self.file.parent / Path(table["path"]).expanduser(),
            size=None if size is None else bytes_of(size),
            scratch=table.get("scratch", False),
            format=table.get("format", "raw"),
            shared=table.get("shared", False),
        )

    def _domain(self, index: int, table: Mapping[str, Any]) -> Domain | None:
        if "config" in table:
            return self._from_config(index, table)
        if "name" not in table:
            self._wrong(
                ("domain", index),
                "has neither config nor name",
                'add config = "guest.cfg", or name = "..." and memory = ...',
            )
            return None
        inline: dict[str, XlValue] = {key: table[key] for key in _INLINE if key in table}
        inline["memory"] = mib_of(table.get("memory", 64))
        try:
            text = "\n".join(render_lines(inline)) + "\n"
        except ValueError as error:
            self._wrong(("domain", index), str(error), "leave the quotes out")
            return None
        return self._finish(
            index,
            table,
            text,
            f"{self.shown} (domain {table['name']})",
            self.file.parent,
            inline=True,
        )

    def _from_config(self, index: int, table: Mapping[str, Any]) -> Domain | None:
        spare = [key for key in _INLINE if key in table]
        for key in spare:
            self._wrong(
                ("domain", index, key),
                f"{key!r} stands beside config",
                f"put it in [domain.overrides]: {key} = ...",
            )
        path = self.file.parent / Path(table["config"]).expanduser()
        try:
            # Line ends as they are: those of DOS are none to xl.
            text = textfile.read(path)
        except (FileNotFoundError, textfile.Unreadable) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._wrong(
                ("domain", index, "config"),
                f"{path}: {reason}",
                "correct the path (relative paths count from the lab file)",
            )
            return None
        return None if spare else self._finish(index, table, text, str(path), path.parent)

    def _finish(
        self,
        index: int,
        table: Mapping[str, Any],
        text: str,
        config_path: str,
        directory: Path,
        *,
        inline: bool = False,
    ) -> Domain | None:
        overrides = dict(table.get("overrides", {}))
        try:
            if "memory" in overrides:
                overrides["memory"] = mib_of(overrides["memory"])
            lines = render_lines(overrides)
        except ValueError as error:
            self._wrong(("domain", index, "overrides"), str(error))
            return None
        program = table.get("program")
        if isinstance(program, dict):
            program = KERNEL_PROGRAM
        fallback = DRIVER_PROGRAM if table.get("role") == "driver" else None
        guest = parse_guest(text, config_path, lines, program, fallback)
        at = self.locator.line(("domain", index))

        def placed(problem: Problem) -> Problem:
            if not inline:
                return problem
            name = f"domain {table['name']!r}"
            place = f"{name}, {problem.place}" if problem.place else name
            return problem._replace(file=self.shown, line=at, place=place)

        self.problems += map(placed, guest.problems)
        self.warnings += map(placed, guest.warnings)
        if guest.config is None:
            return None
        for what, word in device_words(guest.config):
            place = what if self.alone else f"{place_of(('domain', index), self.data)}, {what}"
            text_of_it = f"{word} has no effect here"
            self.warnings.append(Problem(self.shown, at, place, text_of_it, "leave it out"))
        return self._assemble(table, text, config_path, directory, lines, guest.config)

    def _assemble(
        self,
        table: Mapping[str, Any],
        text: str,
        config_path: str,
        directory: Path,
        lines: tuple[str, ...],
        parsed: DomainConfig,
    ) -> Domain:
        return Domain(
            name=parsed.name,
            config=text,
            config_path=config_path,
            directory=directory,
            overrides=lines,
            role="driver" if parsed.driver_domain else table.get("role", "guest"),
            restart=table.get("restart", "never"),
            program=parsed.program,
            args=_args(table),
            files=tuple(self._file(entry) for entry in table.get("files", ())),
            disks=disks_of(parsed),
            vifs=vifs_of(parsed),
            memory=parsed.memory,
            guest=parsed,
            walls=table.get("walls", self.data.get("lab", {}).get("walls", ALL)),
        )

    def _file(self, entry: str) -> File:
        path, _, mode = entry.rpartition(":")
        if path and mode == "rw":
            return str(self.file.parent / path), "rw"
        return str(self.file.parent / (path if path and mode == "r" else entry)), "r"

    def _check(
        self,
        images: list[tuple[int, Image]],
        domains: list[tuple[int, Domain]],
        devices: list[tuple[int, LabDevice]],
    ) -> None:
        checker = Checker(
            self.file, self.shown, self.data, self.locator, self.run_dir, alone=self.alone
        )
        self.problems += checker.check(images, domains, devices)

    def _wrong(self, path: tuple[str | int, ...], text: str, remedy: str = "") -> None:
        place = "" if self.alone else place_of(path, self.data)
        self.problems.append(Problem(self.shown, self.locator.line(path), place, text, remedy))
