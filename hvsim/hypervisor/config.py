"""The boot config: what the hypervisor is told before it does anything."""

from dataclasses import dataclass, field
from typing import Any, Self

from hvsim.hypervisor.ledger import DEFAULT_SIZE


class ConfigError(ValueError):
    """The boot config cannot be followed; the text says which key and why."""


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
    ledger_size: int = DEFAULT_SIZE
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
        """Check a boot config map. Raises ConfigError."""
        if not isinstance(raw, dict):
            raise ConfigError("the boot config is no map")
        dom0 = raw.get("dom0")
        if not isinstance(dom0, dict):
            raise ConfigError("dom0: a map is wanted")
        processes = dom0.get("processes", [])
        if not isinstance(processes, list) or not all(isinstance(p, dict) for p in processes):
            raise ConfigError("dom0.processes: a list of maps is wanted")
        spawner = raw.get("spawner") or {}
        if isinstance(spawner, list):
            spawner = {"argv": spawner}
        if not isinstance(spawner, dict):
            raise ConfigError("spawner: a map or a command is wanted")
        argv = spawner.get("argv")
        if not argv:
            raise ConfigError("spawner.argv: the command that starts the spawner is wanted")
        mode = raw.get("event_mode", "direct")
        if mode not in ("direct", "mediated"):
            raise ConfigError(f"event_mode: {mode!r} is neither direct nor mediated")
        pages_key = "memory_pages" if "memory_pages" in dom0 else "max_pages"
        config = cls(
            lab=_text(raw, "lab", "lab"),
            memory_pages=_number(raw, "memory_pages", None, 2),
            dom0_pages=_number(dom0, pages_key, None, 2),
            nodes=_number(raw, "nodes", 1, 1),
            cpus=_number(raw, "cpus", 1, 1),
            seed=_number(raw, "seed", 0, None),
            mediated=mode == "mediated",
            ledger_size=_number(raw, "ledger_size", DEFAULT_SIZE, 1),
            log_dir=_optional(raw, "log_dir"),
            door=_optional(raw, "door"),
            obituary=_optional(raw, "obituary"),
            spawner=_texts("spawner.argv", argv),
            preload=_texts("spawner.preload", spawner.get("preload") or []),
            dom0_vcpus=_number(dom0, "max_vcpus", 1, 1),
            processes=tuple(processes),
            cgroups=_directories(raw.get("cgroups") or {}),
        )
        if config.dom0_pages > config.memory_pages:
            raise ConfigError("dom0 has more memory than the machine")
        if config.nodes > config.memory_pages:
            raise ConfigError("nodes: more than pages")
        return config


def _directories(raw: object) -> dict[str, str]:
    if not isinstance(raw, dict) or not {*raw} <= {"memory", "pids"} or len(raw) == 1:
        raise ConfigError("cgroups: a directory each for memory and pids is wanted")
    return {str(name): _text(raw, name, "") for name in raw}


def _number(raw: dict[str, Any], key: str, default: int | None, least: int | None) -> int:
    value = raw.get(key)
    if value is None:
        value = default
    if type(value) is not int or (least is not None and value < least):
        raise ConfigError(f"{key}: a number{'' if least is None else f' from {least}'} is wanted")
    return value


def _text(raw: dict[str, Any], key: str, default: str) -> str:
    value = raw.get(key, default)
    if not isinstance(value, str):
        raise ConfigError(f"{key}: a text is wanted")
    return value


def _optional(raw: dict[str, Any], key: str) -> str | None:
    return None if raw.get(key) is None else _text(raw, key, "")


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{key}: a list of texts is wanted")
    return tuple(value)
