"""The description of a process that the hypervisor hands to the spawner, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hvsim.spawn.sandbox import WALLS
from hvsim.spawn.sandbox.refusal import ALL, WHAT_THERE_IS


class SpecError(ValueError):
    """A spawn request that cannot be followed; the text says what is wrong with it."""


@dataclass(frozen=True)
class SpawnSpec:
    """One domain process to be.

    ``raw`` is the whole map as it came, for the domain runtime.  ``without`` names walls of
    the sandbox to leave out; only tests of the tests use it, and who may write a spec may
    as well ask for profile "dom0", which has no walls.

    ``executables``: the process may start programs of the machine, and is root in its own user
    namespace; ``store``: the socket of the domain's own door to xenstored; ``hosts``:
    names of the lab's guests -> addresses.  ``exec`` makes it a program of the machine in a domain
    that runs already, with its standard descriptors over the socket ``stdio``.  ``network`` (key
    ``net``): it administers a network stack of its own.  ``room``: where a hotplug script of dom0
    stands (`hvsim.spawn.backstage`).  ``pages``: the domain's RAM; ``cgroup``: the files through
    which the process enters the cgroups that count what it takes.
    """

    name: str
    process: str
    profile: Literal["guest", "driver", "dom0"]
    path: tuple[str, ...]
    files: tuple[tuple[str, Literal["r", "rw"]], ...]
    stdout: str | None
    without: tuple[str, ...] = ()
    executables: bool = False
    store: str | None = None
    hosts: Mapping[str, str] = field(default_factory=dict)
    exec: tuple[str, ...] = ()
    stdio: str | None = None
    network: bool = False
    pages: int = 0
    cgroup: tuple[str, ...] = ()
    lenient: bool = False
    room: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """dom0's own processes are as trusted as the hypervisor: no sandbox."""
        return self.profile == "dom0"

    @property
    def title(self) -> str:
        """What ``ps`` shows: the domain, and which of its processes when it has several."""
        return self.process if self.trusted and self.process else self.name

    @classmethod
    def parse(cls, raw: object) -> "SpawnSpec":
        """Check a spec map.

        Raises:
            SpecError: a key is missing or of the wrong kind.
        """
        if not isinstance(raw, dict):
            raise SpecError("the spec is not a map")
        profile = raw.get("profile", "guest")
        if profile not in ("guest", "driver", "dom0"):
            raise SpecError(f"profile: {profile!r} is none of guest, driver, dom0")
        hosts = raw.get("hosts") or {}
        if not isinstance(hosts, dict) or not all(
            isinstance(part, str) for pair in hosts.items() for part in pair
        ):
            raise SpecError("hosts: a map of names to addresses is wanted")
        command = _texts(raw, "exec")
        if command and not raw.get("stdio"):
            raise SpecError("stdio: a program needs the socket that brings its descriptors")
        stdout = raw.get("stdout")
        if stdout is not None and not isinstance(stdout, str):
            raise SpecError("stdout: a path or nothing is wanted")
        if not command:
            _text(raw, "program")
        files = []
        for entry in _list(raw, "files"):
            match entry:
                case [str(path), "r" | "rw" as mode]:
                    files.append((path, mode))
                case _:
                    raise SpecError(f'files: [path, "r" or "rw"] is wanted, not {entry!r}')
        without = tuple(_list(raw, "without"))
        if unknown := [wall for wall in without if wall not in WALLS]:
            raise SpecError(f"without: {unknown[0]!r} is none of {', '.join(WALLS)}")
        walls = raw.get("walls", ALL)
        if walls not in (ALL, WHAT_THERE_IS):
            raise SpecError(f"walls: {walls!r} is neither {ALL} nor {WHAT_THERE_IS}")
        return cls(
            name=_text(raw, "name"),
            process=_text(raw, "process", ""),
            profile=profile,
            path=_texts(raw, "path"),
            files=tuple(files),
            stdout=stdout,
            without=without,
            executables=bool(raw.get("executables") or command),
            store=_text(raw, "store_socket", "") or None,
            hosts=hosts,
            exec=command,
            stdio=_text(raw, "stdio", "") or None,
            network=bool(raw.get("net")),
            pages=_number(raw, "pages"),
            cgroup=_texts(raw, "cgroup"),
            lenient=walls == WHAT_THERE_IS,
            room=_table(raw, "room"),
            raw=raw,
        )


def _text(raw: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = raw.get(key, default)
    if not isinstance(value, str):
        raise SpecError(f"{key}: a text is wanted, not {value!r}")
    return value


def _number(raw: Mapping[str, Any], key: str) -> int:
    value = raw.get(key, 0)
    if type(value) is not int or value < 0:
        raise SpecError(f"{key}: a number is wanted, not {value!r}")
    return value


def _list(raw: Mapping[str, Any], key: str) -> list[Any]:
    value = raw.get(key) or []
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{key}: a list is wanted, not {value!r}")
    return list(value)


def _table(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, dict):
        raise SpecError(f"{key}: a map is wanted, not {value!r}")
    return value


def _texts(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(raw, key)
    if not all(isinstance(value, str) for value in values):
        raise SpecError(f"{key}: a list of texts is wanted")
    return tuple(values)
