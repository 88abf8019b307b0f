"""The store nodes of devices as libxl writes them: paths, values, owners, permissions, their order.

Pure: each function returns the requests of one step.  What differs from kind to kind is in the
halves.  Every one is held against the recordings of a real host (Xen 4.17.7) by tests/fidelity, but
for `move` and `made_here`, which are this host's own.
"""

from collections.abc import Sequence

from hvsim.drivers.split import devd
from hvsim.toolstack.host.device import Device, Half
from hvsim.toolstack.host.nodes import directory, domain_path, write
from hvsim.xs import requests
from hvsim.xs.requests import Request


def add(device: Device, half: Half) -> list[Request[object]]:
    """The transaction that makes a device, both halves at state 1."""
    batch = libxl_head(device)
    batch += directory(device.frontend, device.front_perms)
    batch += write(f"{device.frontend}/backend", device.backend)
    for key, value in half.frontend_nodes(device):
        batch += write(f"{device.frontend}/{key}", value, device.front_perms)
    for key, value in half.spoken():
        batch += write(f"{device.frontend}/{key}", value, device.back_perms)
    nodes = half.backend_nodes(device)
    return batch + backend_half(device, nodes) + libxl_copy(device, nodes)


def device_model_path(domid: int) -> str:
    """Where the QEMU of a guest says how it is; in the tree of dom0, which it runs in."""
    return f"{domain_path(0)}/device-model/{domid}"


def made_here(device: Device) -> list[Request[object]]:
    """Say to a driver domain that this toolstack made the device (`hvsim.drivers.split.devd`)."""
    key, ours = devd.MAKER
    return write(f"{device.backend}/{key}", ours) if device.backend_domid else []


def move(old: Device, new: Device, half: Half, keys: Sequence[str]) -> list[Request[object]]:
    """The transaction that gives a device to another backend while its frontend lives on.

    Real libxl cannot do this (surprise 42 of a real host: nothing reconnects by itself); it is
    the recovery protocol of this host.  The backend's half is made as at an attach, the
    frontend's names the new backend and goes back to state 1, everything else of it stays.
    *new* is *old* when only the program behind the backend is another one.

    Args:
        keys: what the frontend's directory holds.  A node keeps its permissions when it is
            written again, so each must be opened to the new backend, and closed to the old one.
    """
    perms = new.front_perms
    nodes = half.backend_nodes(new)
    batch = [requests.rm(old.backend), *backend_half(new, nodes), *made_here(new)]
    batch += write(f"{new.libxl}/backend", new.backend)
    batch.append(requests.set_perms(new.frontend, perms))
    theirs = {key for key, _ in half.spoken()}
    batch += [
        requests.set_perms(f"{new.frontend}/{key}", perms) for key in keys if key not in theirs
    ]
    for key, value in half.spoken():  # it went with the domain that owned it
        batch += write(f"{new.frontend}/{key}", value, new.back_perms)
    batch += write(f"{new.frontend}/backend-id", new.backend_domid)
    batch += write(f"{new.frontend}/state", 1)
    # Last, so that whoever is told of it finds the rest in place.
    return batch + write(f"{new.frontend}/backend", new.backend)


def close(device: Device, *, connected: bool) -> list[Request[object]]:
    """Ask the backend to end: online = 0, and Closing unless it is Closed already."""
    batch = write(f"{device.backend}/online", 0)
    return batch + write(f"{device.backend}/state", 5) if connected else batch


def libxl_head(device: Device) -> list[Request[object]]:
    """What stands first in libxl's own copy."""
    path = device.libxl
    return [
        requests.rm(path),
        *write(f"{path}/frontend", device.frontend),
        *write(f"{path}/backend", device.backend),
    ]


def backend_half(device: Device, nodes: list[tuple[str, str]]) -> list[Request[object]]:
    """The backend's directory."""
    batch = directory(device.backend, device.back_perms)
    batch += write(f"{device.backend}/frontend", device.frontend)
    for key, value in nodes:
        batch += write(f"{device.backend}/{key}", value)
    return batch


def libxl_copy(device: Device, nodes: list[tuple[str, str]]) -> list[Request[object]]:
    """What libxl notes of the backend's half."""
    batch: list[Request[object]] = []
    for key, value in nodes:
        batch += write(f"{device.libxl}/{key}", value)
    return batch
