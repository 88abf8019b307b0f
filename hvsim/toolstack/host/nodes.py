"""Where things stand in the store, who may see them there, and how a node is written.  Pure."""

from collections.abc import Sequence

from hvsim.xs import requests
from hvsim.xs.requests import Request


def domain_path(domid: int) -> str:
    """A domain's own directory."""
    return f"/local/domain/{domid}"


def libxl_path(domid: int) -> str:
    """libxl's private directory of a domain."""
    return f"/libxl/{domid}"


def vm_path(uuid: str) -> str:
    """The directory of a virtual machine, which outlives a reboot."""
    return f"/vm/{uuid}"


def toolstack_only() -> list[str]:
    """Permissions of what only dom0 may see."""
    return ["n0"]


def readable_by(domid: int) -> list[str]:
    """dom0's nodes that the guest may read."""
    return ["n0", f"r{domid}"]


def owned_by(domid: int) -> list[str]:
    """Nodes that the guest may write."""
    return [f"n{domid}"]


def write(path: str, value: str | int, perms: Sequence[str] | None = None) -> list[Request[object]]:
    """A node with a value, and its permissions when they are not those of its parent."""
    batch: list[Request[object]] = [requests.write(path, str(value))]
    if perms is not None:
        batch.append(requests.set_perms(path, perms))
    return batch


def directory(path: str, perms: Sequence[str]) -> list[Request[object]]:
    """A fresh directory of a device."""
    return [requests.rm(path), requests.mkdir(path), requests.set_perms(path, perms)]
