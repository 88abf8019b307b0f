"""Kinds of devices that the lab itself declares (``[[device]]``)."""

from dataclasses import dataclass


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
