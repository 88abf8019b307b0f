"""The description of a process that the hypervisor hands to the spawner, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hvsim.wire.fields import Fields, WrongMessage
from hvsim.wire.walls import ALL, WALLS, WHAT_THERE_IS


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
            WrongMessage: a field is missing or of the wrong kind.
        """
        fields = Fields(raw, "the spec")
        profile: Literal["guest", "driver", "dom0"]
        match fields.text("profile", "guest"):
            case "guest" | "driver" | "dom0" as profile:
                pass
            case other:
                raise WrongMessage(f"profile: {other!r} is none of guest, driver, dom0")
        command = fields.texts("exec")
        stdio = fields.text("stdio", "") or None
        if command and stdio is None:
            raise WrongMessage("stdio: a program needs the socket that brings its descriptors")
        if not command:
            fields.text("program")
        files: list[tuple[str, Literal["r", "rw"]]] = []
        for entry in fields.items("files"):
            match entry:
                case [str(path), "r" | "rw" as mode]:
                    files.append((path, mode))
                case _:
                    raise WrongMessage(f'files: [path, "r" or "rw"] is wanted, not {entry!r}')
        without = fields.texts("without")
        if unknown := [wall for wall in without if wall not in WALLS]:
            raise WrongMessage(f"without: {unknown[0]!r} is none of {', '.join(WALLS)}")
        walls = fields.text("walls", ALL)
        if walls not in (ALL, WHAT_THERE_IS):
            raise WrongMessage(f"walls: {walls!r} is neither {ALL} nor {WHAT_THERE_IS}")
        return cls(
            name=fields.text("name"),
            process=fields.text("process", ""),
            profile=profile,
            path=fields.texts("path"),
            files=tuple(files),
            stdout=fields.optional("stdout"),
            without=without,
            executables=bool(fields.raw.get("executables") or command),
            store=fields.text("store_socket", "") or None,
            hosts=fields.names("hosts"),
            exec=command,
            stdio=stdio,
            network=bool(fields.raw.get("net")),
            pages=fields.number("pages", 0, 0),
            cgroup=fields.texts("cgroup"),
            lenient=walls == WHAT_THERE_IS,
            room=fields.table("room"),
            raw=fields.raw,
        )
