"""Kinds of devices that the lab itself declares (``[[device]]``), and devices of such a kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Declaration:
    """A kind of devices.

    Attributes:
        type: its name in the store.
        frontend, backend: the class of each half, "module:Class".
        backend_keys: names of what the backend's directory has besides what each one has.
    """

    type: str
    frontend: str
    backend: str
    backend_keys: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """From the map that the lab sends.  Raises: KeyError for a part that is missing."""
        keys = tuple(str(key) for key in raw.get("backend_keys") or ())
        return cls(str(raw["type"]), str(raw["frontend"]), str(raw["backend"]), keys)


@dataclass(frozen=True, slots=True)
class DeclaredDevice:
    """A device of a declared kind.

    Attributes:
        type: its kind.
        devid: its number in the domain that uses it.
        served_by: name of the domain that serves it.
        frontend_keys, backend_keys: further nodes of either half.
        there: it was not detached.
    """

    type: str
    devid: int
    served_by: str
    frontend_keys: dict[str, str] = field(default_factory=dict)
    backend_keys: dict[str, str] = field(default_factory=dict)
    there: bool = True

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Self:
        """From the map that the lab sends.  Raises: KeyError, ValueError."""
        return cls(
            str(raw["type"]),
            int(raw["devid"]),
            str(raw["served_by"]),
            _texts(raw.get("frontend_keys")),
            _texts(raw.get("backend_keys")),
            bool(raw.get("there", True)),
        )


def _texts(raw: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in raw.items()} if isinstance(raw, dict) else {}
