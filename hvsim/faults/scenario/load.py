"""A scenario file is read and checked as a whole: all that is wrong with it is told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from hvsim.faults.forms import FormError, read
from hvsim.faults.grammar import RuleError, of_table
from hvsim.faults.now import SPAWNER
from hvsim.faults.of_lab import drafts, nowhere
from hvsim.faults.scenario.model import Act, Goal, Load, Phase, Scenario
from hvsim.faults.scenario.schema import schema
from hvsim.lab.load import load as load_lab
from hvsim.lab.load import load_tables
from hvsim.lab.locate import Locator
from hvsim.lab.model import Domain, Lab
from hvsim.lab.problems import LabFileError, Problem
from hvsim.lab.schema import place_of, schema_problems
from hvsim.lab.schema import schema as lab_schema
from hvsim.lab.tables import parsed, source, tables_of
from hvsim.toolstack.host.parts import DAEMONS, DOM0, HYPERVISOR
from hvsim.wire.boot import Lockstep

HISTORIES: Final = {
    "domains.guests.database:main": "commits",
    "domains.guests.register:main": "registers",
}
"""What the console of a program tells; any other's: lines."""
ACTS: Final = ("kill", "stall", "resume", "look")
MAIN: Final = "main"
"""The process of a domain."""
_Path = tuple[str | int, ...]


class NoScenario(LabFileError):
    """The file is no scenario; `problems` holds everything that is wrong."""


def is_scenario(path: str | Path) -> bool:
    """Whether the file has a table [scenario].  Raises: LabFileError."""
    return "scenario" in tables_of(str(path))


def load(path: str | Path, name: str | None = None) -> Scenario:
    """Read and check the scenario at *path*, whose lab is called *name*, or as it says.

    Starts nothing and writes nothing.  Raises: NoScenario.
    """
    try:
        file, text = source(Path(path))
        return _Loader(file, str(path), text, parsed(text, str(path))).scenario(name)
    except LabFileError as wrong:
        raise NoScenario(wrong.problems) from None


class _Loader:
    """One reading of one file."""

    def __init__(self, file: Path, shown: str, text: str, data: dict[str, Any]) -> None:
        self._file = file
        self._shown = shown
        self._text = text
        self._data = data
        self._locator = Locator(text)
        self._problems: list[Problem] = []
        self._victims: list[str] = []

    def scenario(self, name: str | None) -> Scenario:
        if "scenario" not in self._data:
            kind = "a lab, and no scenario" if "lab" in self._data else "no scenario"
            said = f"{kind}: there is no table [scenario]"
            remedy = "`hvsim up` brings a lab up; [scenario] and [[phase]] make a scenario of it"
            raise LabFileError([Problem(self._shown, 0, "", said, remedy)])
        shape = schema_problems(self._data, self._shown, self._locator, schema())
        self._problems += shape
        if self._problems:
            raise LabFileError(self._problems)
        table = self._data["scenario"]
        called = name or table.get("name") or self._file.stem
        lab = self._lab(table, called)
        self._victims = [*(one.name for one in lab.domains), *DAEMONS, HYPERVISOR, SPAWNER, DOM0]
        loads = tuple(self._load(index, one, lab) for index, one in self._tables("load"))
        phases = tuple(self._phase(index, one, loads, lab) for index, one in self._tables("phase"))
        self._without(sum(len(phase.acts) for phase in phases))
        for name in table.get("expendable", ()):
            if all(one.name != name for one in lab.domains):
                self._wrong(("scenario", "expendable"), _nobody(name, lab))
        names = [phase.name for phase in phases]
        for index, one in enumerate(names):
            if one in names[:index]:
                self._wrong(("phase", index, "name"), f"two phases are called {one!r}")
        for index, load_of in enumerate(loads):
            if any(load_of.domain == one.domain for one in loads[:index]):
                said = f"{load_of.domain!r} has a [[load]] already: a domain has one program"
                self._wrong(("load", index, "domain"), said)
            if load_of.phase and load_of.phase not in names:
                self._wrong(("load", index, "phase"), f"no phase is called {load_of.phase!r}")
            domain = next((one for one in lab.domains if one.name == load_of.domain), None)
            if load_of.phase and domain is not None and domain.is_driver:
                self._wrong(("load", index, "phase"), "a driver domain is there from the start")
        self._too_early(loads, phases)
        if self._problems:
            raise LabFileError(self._problems)
        turns = self._data.get("lockstep", {})
        seed = int(turns.get("seed", table.get("seed", 0)))
        return Scenario(
            name=called,
            title=table.get("title", called),
            text=table.get("text", "").strip(),
            file=self._file,
            lab=_with(lab, loads),
            seed=seed,
            loads=loads,
            phases=phases,
            unchecked=frozenset(table.get("unchecked", ())),
            lockstep=_lockstep(turns) if turns else None,
            without=frozenset(number - 1 for number in turns.get("without", ())),
            expendable=frozenset(table.get("expendable", ())),
        )

    def _lab(self, table: Mapping[str, Any], name: str) -> Lab:
        """Raises: LabFileError of the lab."""
        inline = {key: self._data[key] for key in lab_schema()["properties"] if key in self._data}
        if "lab" in table:
            if inline:
                self._wrong(
                    ("scenario", "lab"), f"a lab file is named, and [{next(iter(inline))}] is here"
                )
            lab = load_lab(self._file.parent / table["lab"], name=name)
        else:
            lab = load_tables(self._file, self._shown, self._text, inline, name)
        drafts(lab)
        return lab

    def _without(self, acts: int) -> None:
        for number in self._data.get("lockstep", {}).get("without", ()):
            if number > acts:
                self._wrong(("lockstep", "without"), f"{number}: there are {acts} faults and steps")

    def _tables(self, kind: str) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from enumerate(self._data.get(kind, ()))

    def _load(self, index: int, table: dict[str, Any], lab: Lab) -> Load:
        domain = next((one for one in lab.domains if one.name == table["domain"]), None)
        if domain is None:
            self._wrong(("load", index, "domain"), _nobody(table["domain"], lab))
        image = table.get("image", table["domain"])
        holder = next((one for one in lab.domains if one.name == image), None)
        program = table.get("program") or (domain.program if domain else None)
        history = table.get("history") or HISTORIES.get(str(program), "lines")
        if holder is None or not holder.disks:
            if "image" in table:
                self._wrong(("load", index, "image"), f"{image!r} is no domain with a disk")
            elif history == "commits" and holder is not None:
                said = f"{image!r} has no disk on which its commits could be found"
                self._wrong(("load", index), said, "name whose disk has them: image = DOMAIN")
        return Load(
            table["domain"],
            history,
            table.get("program"),
            table.get("args", {}),
            table.get("phase", ""),
            image,
        )

    def _phase(self, index: int, table: dict[str, Any], loads: tuple[Load, ...], lab: Lab) -> Phase:
        at = "phase", index
        if ("for" in table) == ("until" in table):
            self._wrong(at, "a phase has either for = TIME or until = [...]")
        clients = {one.domain for one in loads}
        for name in (*table.get("quiet", ()), *(one["domain"] for one in table.get("until", ()))):
            if name not in clients:
                self._wrong(at, f"{name!r} has no [[load]], so that nobody knows of its progress")
        goals = tuple(
            Goal(one["domain"], one.get("count", 1), self._time(at, one.get("within", "10s")))
            for one in table.get("until", ())
        )
        acts = [
            act
            for kind, read_one in (("fault", partial(self._fault, lab)), ("step", self._step))
            for one in table.get(kind, ())
            if (act := read_one((*at, kind), one)) is not None
        ]
        return Phase(
            name=table["name"],
            text=table.get("text", "").strip(),
            seconds=self._time((*at, "for"), table["for"]) if "for" in table else 0.0,
            goals=goals,
            acts=tuple(acts),
            quiet=tuple(table.get("quiet", ())),
        )

    def _too_early(self, loads: tuple[Load, ...], phases: tuple[Phase, ...]) -> None:
        """Nobody is killed, or stalled, before he is made."""
        made_in = {one.domain: one.phase for one in loads}
        made = {""}
        for index, phase in enumerate(phases):
            made.add(phase.name)
            for act in phase.acts:
                if act.rule is None and made_in.get(act.who, "") not in made:
                    said = f"{act.text}: {act.who} is made in phase {made_in[act.who]!r}"
                    self._wrong(("phase", index), said)

    def _fault(self, lab: Lab, at: _Path, table: dict[str, Any]) -> Act | None:
        words = {key: value for key, value in table.items() if key != "when"}
        try:
            draft = of_table(words)
        except RuleError as wrong:
            self._wrong(at, str(wrong))
            return None
        if lost := nowhere(draft, lab):
            self._wrong(at, *lost)
        return Act("fault", self._moment(at, table), draft.target, rule=draft)

    def _step(self, at: _Path, table: dict[str, Any]) -> Act | None:
        done = [one for one in ACTS if one in table]
        if len(done) != 1:
            self._wrong(at, f"a step is one of {', '.join(ACTS)}")
            return None
        what = done[0]
        who = "" if what == "look" else str(table[what])
        if who and not who.startswith("qemu-") and who not in self._victims:
            self._wrong(at, f"{what}: {who!r} is nobody; there are {', '.join(self._victims)}")
        process = table.get("process", "")
        one = who in (*DAEMONS, HYPERVISOR, SPAWNER) or who not in self._victims  # a QEMU
        known = DAEMONS if who == DOM0 else () if one else (MAIN,)
        if process and process not in known and not (who == DOM0 and process.startswith("qemu-")):
            there = f"it has {', '.join(known)}" if known else "it is one; leave process out"
            self._wrong(at, f"{what}: {who} has no process {process!r}; {there}")
        return Act(what, self._moment(at, table), who, process)

    def _moment(self, at: _Path, table: Mapping[str, Any]) -> tuple[float, float]:
        text = table.get("when", "0s")
        if text == "0s":
            return 0.0, 0.0
        first, dots, last = str(text).partition("..")
        least = 0.0 if first == "0s" else self._time(at, first)
        return least, self._time(at, last) if dots else least

    def _time(self, at: _Path, text: str) -> float:
        try:
            return float(str(read("time", text)))
        except FormError as wrong:
            self._wrong(at, str(wrong))
            return 1.0

    def _wrong(self, path: _Path, text: str, remedy: str = "") -> None:
        place = place_of(path, self._data)
        self._problems.append(Problem(self._shown, self._locator.line(path), place, text, remedy))


def _lockstep(table: Mapping[str, Any]) -> Lockstep:
    """A tape says all, whatever order it is of."""
    if "tape" in table:
        return Lockstep(way="tape", tape=dict(table["tape"]))
    return Lockstep(way=table.get("order", "random"))


def _nobody(name: str, lab: Lab) -> str:
    return f"no domain of the lab is called {name!r}; there are " + ", ".join(
        one.name for one in lab.domains
    )


def _with(lab: Lab, loads: tuple[Load, ...]) -> Lab:
    """The lab whose domains do what the loads say."""
    by_name = {one.domain: one for one in loads}

    def changed(domain: Domain) -> Domain:
        load_of = by_name.get(domain.name)
        if load_of is None:
            return domain
        args = {**domain.args, **load_of.args}
        return replace(domain, program=load_of.program or domain.program, args=args)

    return replace(lab, domains=tuple(map(changed, lab.domains)))
