"""The description of a process that the hypervisor hands to the spawner, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hvsim.domain.sandbox import WALLS


class SpecError(ValueError):
    """A spawn request that cannot be followed; the text says what is wrong with it."""


@dataclass(frozen=True)
class SpawnSpec:
    """One domain process to be.

    ``raw`` is the whole map as it came, for the domain runtime.  ``without`` names walls of
    the sandbox to leave out; only tests of the tests use it, and who may write a spec may
    as well ask for profile "dom0", which has no walls.
    """

    name: str
    process: str
    profile: Literal["guest", "driver", "dom0"]
    path: tuple[str, ...]
    files: tuple[tuple[str, Literal["r", "rw"]], ...]
    stdout: str | None
    without: tuple[str, ...] = ()
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
        stdout = raw.get("stdout")
        if stdout is not None and not isinstance(stdout, str):
            raise SpecError("stdout: a path or nothing is wanted")
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
        return cls(
            name=_text(raw, "name"),
            process=_text(raw, "process", ""),
            profile=profile,
            path=_texts(raw, "path"),
            files=tuple(files),
            stdout=stdout,
            without=without,
            raw=raw,
        )


def _text(raw: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = raw.get(key, default)
    if not isinstance(value, str):
        raise SpecError(f"{key}: a text is wanted, not {value!r}")
    return value


def _list(raw: Mapping[str, Any], key: str) -> list[Any]:
    value = raw.get(key) or []
    if not isinstance(value, (list, tuple)):
        raise SpecError(f"{key}: a list is wanted, not {value!r}")
    return list(value)


def _texts(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(raw, key)
    if not all(isinstance(value, str) for value in values):
        raise SpecError(f"{key}: a list of texts is wanted")
    return tuple(values)
