"""The boot config: what the hypervisor is told before it does anything."""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from hvsim.wire.fields import Fields, WrongMessage

LEDGER_SIZE: Final = 4096
"""Records that the hypervisor's ledger keeps, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class BootConfig:
    """The machine and its dom0.

    Attributes:
        lab: its name.
        memory_pages, nodes, cpus: its size.
        seed: of every die that is thrown.
        mediated: whether events pass through the hypervisor from the start.
        ledger_size: records kept.
        log_dir: where the spawner's output goes, None for where ours goes.
        door: the socket of the owner's door, None for none.
        obituary: the file that says why the machine has ended, None for none.
        spawner: the spawner's command; "--fd N" is added.
        dom0_pages, dom0_vcpus: its size.
        processes: the specs of dom0's processes, spawned in this order.
        cgroups: controller -> directory in which cgroups of domains are made; empty for none.
    """

    lab: str
    memory_pages: int
    dom0_pages: int
    nodes: int = 1
    cpus: int = 1
    seed: int = 0
    mediated: bool = False
    ledger_size: int = LEDGER_SIZE
    log_dir: str | None = None
    door: str | None = None
    obituary: str | None = None
    spawner: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    dom0_vcpus: int = 1
    processes: tuple[dict[str, Any], ...] = field(default=())
    cgroups: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: object) -> Self:
        """Check a boot config map.

        Raises:
            WrongMessage: it cannot be followed; the text says which field and why.
        """
        fields = Fields(raw, "the boot config")
        dom0 = Fields(fields.raw.get("dom0"), "dom0")
        command = fields.raw.get("spawner") or {}
        spawner = Fields({"argv": command} if isinstance(command, list) else command, "spawner")
        argv = spawner.texts("argv")
        if not argv:
            raise WrongMessage("spawner.argv: the command that starts the spawner is wanted")
        mode = fields.text("event_mode", "direct")
        if mode not in ("direct", "mediated"):
            raise WrongMessage(f"event_mode: {mode!r} is neither direct nor mediated")
        pages_key = "memory_pages" if "memory_pages" in dom0.raw else "max_pages"
        processes = [entry for entry in dom0.items("processes") if isinstance(entry, dict)]
        if len(processes) != len(dom0.items("processes")):
            raise WrongMessage("dom0.processes: a list of maps is wanted")
        cgroups = fields.names("cgroups")
        if not {*cgroups} <= {"memory", "pids"} or len(cgroups) == 1:
            raise WrongMessage("cgroups: a directory each for memory and pids is wanted")
        config = cls(
            lab=fields.text("lab", "lab"),
            memory_pages=fields.number("memory_pages", least=2),
            dom0_pages=dom0.number(pages_key, least=2),
            nodes=fields.number("nodes", 1, 1),
            cpus=fields.number("cpus", 1, 1),
            seed=fields.number("seed", 0),
            mediated=mode == "mediated",
            ledger_size=fields.number("ledger_size", LEDGER_SIZE, 1),
            log_dir=fields.optional("log_dir"),
            door=fields.optional("door"),
            obituary=fields.optional("obituary"),
            spawner=argv,
            preload=spawner.texts("preload"),
            dom0_vcpus=dom0.number("max_vcpus", 1, 1),
            processes=tuple(processes),
            cgroups=cgroups,
        )
        if config.dom0_pages > config.memory_pages:
            raise WrongMessage("dom0: it has more memory than the machine")
        if config.nodes > config.memory_pages:
            raise WrongMessage("nodes: more than pages")
        return config
