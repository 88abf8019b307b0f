"""``[[device]]``: devices of a kind of the lab's own, read from its table.

What all devices of a kind have in common (both halves' classes, keys with their defaults) may
stand in ``device.toml`` of a Python package instead, which ``package`` names.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hvsim import textfile
from hvsim.lab.modules import find_module
from hvsim.lab.problems import Fault
from hvsim.wire.lab_requests import DeclaredDevice

DECLARATION: Final = "device.toml"
_OF_A_KIND: Final = ("type", "frontend", "backend", "frontend_keys", "backend_keys")


@dataclass(frozen=True, slots=True)
class LabDevice:
    """One table.

    Attributes:
        type: the kind's name in the store.
        frontend, backend: the class of each half, "module:Class"; "" when nobody says it.
        used_by: the domains that have such a device, each one of its own.
        served_by: the driver domain that serves them.
        frontend_keys, backend_keys: further nodes of each half.
    """

    type: str
    frontend: str = ""
    backend: str = ""
    used_by: tuple[str, ...] = ()
    served_by: str = ""
    frontend_keys: Mapping[str, str] = field(default_factory=dict)
    backend_keys: Mapping[str, str] = field(default_factory=dict)


def read(
    tables: Sequence[tuple[int, Mapping[str, Any]]],
    directory: Path,
    wrong: Callable[[Fault], None],
) -> list[tuple[int, LabDevice]]:
    """The devices of a lab file, with their tables' index.

    Args:
        directory: of the lab file, where packages are looked for first.
        wrong: told of what cannot be read.
    """
    found = []
    for index, table in tables:
        whole = dict(table)
        if "package" in table:
            declared = _declaration(table["package"], directory)
            if isinstance(declared, str):
                wrong((("device", index, "package"), declared, f"it needs a {DECLARATION}"))
                continue
            whole = merged(declared, table)
        users = whole.get("used_by", ())
        found.append(
            (
                index,
                LabDevice(
                    type=whole.get("type", ""),
                    frontend=whole.get("frontend", ""),
                    backend=whole.get("backend", ""),
                    used_by=(users,) if isinstance(users, str) else tuple(users),
                    served_by=whole.get("served_by", ""),
                    frontend_keys=_texts(whole.get("frontend_keys", {})),
                    backend_keys=_texts(whole.get("backend_keys", {})),
                ),
            )
        )
    return completed(found)


def merged(declared: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A table on top of its package's declaration; keys one by one."""
    whole = {**declared, **table}
    for keys in ("frontend_keys", "backend_keys"):
        whole[keys] = {**declared.get(keys, {}), **table.get(keys, {})}
    return whole


def completed(found: list[tuple[int, LabDevice]]) -> list[tuple[int, LabDevice]]:
    """The same, where a table that only names its kind has the halves of one that declares it."""
    first: dict[str, LabDevice] = {}
    for _, device in found:
        if device.frontend and device.backend:
            first.setdefault(device.type, device)
    return [
        (index, _as(device, first.get(device.type)) if not _halves(device) else device)
        for index, device in found
    ]


def _halves(device: LabDevice) -> bool:
    return bool(device.frontend or device.backend)


def _as(device: LabDevice, other: LabDevice | None) -> LabDevice:
    if other is None:
        return device
    return LabDevice(
        device.type,
        other.frontend,
        other.backend,
        device.used_by,
        device.served_by,
        {**other.frontend_keys, **device.frontend_keys},
        {**other.backend_keys, **device.backend_keys},
    )


def _declaration(package: str, directory: Path) -> dict[str, Any] | str:
    """What a package declares, or why that cannot be read.  Nothing of it is run."""
    spec = find_module(package, (directory,))
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    if not places:
        return f"there is no package {package!r}"
    path = Path(places[0]) / DECLARATION
    try:
        data = tomllib.loads(textfile.read(path))
    except FileNotFoundError:
        return f"the package {package!r} has no {DECLARATION}"
    except (textfile.Unreadable, ValueError) as failure:
        return f"{path}: {failure}"
    strange = sorted(data.keys() - set(_OF_A_KIND))
    if strange:
        return f"{path}: unknown key {strange[0]!r}"
    keyed = all(isinstance(data.get(key, {}), dict) for key in _OF_A_KIND[3:])
    if not keyed or not all(isinstance(data.get(key, ""), str) for key in _OF_A_KIND[:3]):
        return f"{path}: type, frontend and backend are texts, the keys of either half a table"
    return data


def _texts(keys: Mapping[str, Any]) -> dict[str, str]:
    """As the store has them: a flag is 0 or 1."""
    return {key: str(int(v)) if isinstance(v, bool) else str(v) for key, v in keys.items()}


def declarations(devices: Sequence[LabDevice]) -> list[dict[str, Any]]:
    """The kinds that *devices* are of, for the toolstack."""
    found: dict[str, dict[str, Any]] = {}
    for device in devices:
        row = {"type": device.type, "frontend": device.frontend, "backend": device.backend}
        known = found.setdefault(device.type, {**row, "backend_keys": []})
        more = [key for key in device.backend_keys if key not in known["backend_keys"]]
        known["backend_keys"] += more
    return list(found.values())


def of_domain(devices: Sequence[LabDevice], name: str) -> Iterator[DeclaredDevice]:
    """The devices that a domain uses, for the toolstack: those of a kind are numbered from 0."""
    numbers: dict[str, int] = {}
    for device in devices:
        for user in device.used_by:
            if user != name:
                continue
            devid = numbers[device.type] = numbers.get(device.type, -1) + 1
            yield DeclaredDevice(
                device.type,
                devid,
                device.served_by,
                dict(device.frontend_keys),
                dict(device.backend_keys),
            )
