"""The scenario that the demo tells: the shipped one, with what its user asks for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hvsim import TREE
from hvsim.errors import HvsimError
from hvsim.faults.scenario.load import load as load_scenario
from hvsim.faults.scenario.model import Act, Phase, Scenario
from hvsim.lab.load import load as load_lab
from hvsim.lab.model import Domain, Lab, LabFault

DEFAULT_LAB = Path(TREE) / "configs" / "two-tier.toml"
SCENARIO = Path(TREE) / "scenarios" / "demo.toml"
DATABASE = "domains.guests.database:main"
SABOTAGES = {
    "forget-unanswered": ("disks", {"ring": "forget", "half": "front"}),
    "drop-unflushed": ("storage", {"media": "lost-flush"}),
}
"""The negative controls: a rule of a fault, of each disk or of the storage domain."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    kills: int = 1
    seconds: float | None = None
    """How long the database commits in all; None: as long as the kills take."""
    seed: int = 0
    lab: Path = DEFAULT_LAB
    name: str | None = None
    sabotage: str | None = None
    store: str | None = None
    console: str | None = None
    """The daemons of dom0; None: those that the lab file names."""


def staged(options: Options) -> tuple[Scenario, Domain, Domain]:
    """The scenario, its database, and the driver domain that serves that one's disk.

    Raises: HvsimError.
    """
    lab = load_lab(options.lab, name=options.name, store=options.store, console=options.console)
    if options.lab == DEFAULT_LAB:
        # Its programs are ours, and a machine that allows few walls is to see it, too. It is told.
        lab = lab.with_what_there_is()
    database, storage = _cast(lab)
    told = load_scenario(SCENARIO)
    names = {told.loads[0].domain: database.name}
    names |= {act.who: storage.name for phase in told.phases for act in phase.acts}
    phases = tuple(_recast(phase, names) for phase in _as_often(told.phases, options))
    loads = tuple(
        replace(one, domain=names[one.domain], image=names[one.domain]) for one in told.loads
    )
    lab = _broken(lab, options.sabotage, storage)
    scenario = replace(told, name=lab.name, lab=lab, loads=loads, phases=phases)
    return scenario, database, storage


def _cast(lab: Lab) -> tuple[Domain, Domain]:
    for domain in lab.domains:
        if domain.program == DATABASE and domain.disks:
            for other in lab.domains:
                if other.name == domain.disks[0].backend and other.restart == "always":
                    return domain, other
    raise HvsimError(
        f"{lab.file}: the demo needs a domain with program = {DATABASE!r} whose disk is served "
        'by a domain with role = "driver" and restart = "always"; see configs/two-tier.toml'
    )


def _as_often(phases: tuple[Phase, ...], options: Options) -> Iterator[Phase]:
    """The phase that kills, and what comes of it, as often as is asked for, within its time."""
    first, kill, back, last = phases
    yield first
    share = None if options.seconds is None else options.seconds / (options.kills + 1)
    for number in range(1, options.kills + 1):
        acts = kill.acts
        if share is not None:
            acts = tuple(replace(act, at=(0.5 * share, 1.5 * share)) for act in acts)
        yield replace(kill, name=f"{kill.name} ({number})", acts=acts)
        yield replace(back, name=f"{back.name} ({number})")
    if share:
        yield Phase("the rest of the time", seconds=share)
    yield last


def _recast(phase: Phase, names: dict[str, str]) -> Phase:
    def act(one: Act) -> Act:
        return replace(one, who=names[one.who])

    return replace(
        phase,
        acts=tuple(map(act, phase.acts)),
        goals=tuple(replace(one, domain=names[one.domain]) for one in phase.goals),
    )


def _broken(lab: Lab, sabotage: str | None, storage: Domain) -> Lab:
    """The lab with the rules of a negative control."""
    if sabotage is None:
        return lab
    target, words = SABOTAGES[sabotage]
    disks = [
        f"{domain.name}/{disk.vdev}"
        for domain in lab.domains
        for disk in domain.disks
        if disk.backend == storage.name
    ]
    targets = disks if target == "disks" else [storage.name]
    rules = tuple(LabFault(0, {"target": one, **words}) for one in targets)
    return replace(lab, faults=(*lab.faults, *rules))
