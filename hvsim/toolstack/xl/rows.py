"""What the listings of ``hvsim xl`` print with ``--json``, which is ours: typed rows, whose
annotations the reference is made of."""

from typing import Annotated, NotRequired, TypedDict


class XlDomainRow(TypedDict):
    """`hvsim xl list --json`: one of a list"""

    name: Annotated[str | None, "its name; null once that has left the store"]
    domid: Annotated[int, "its number"]
    memory_mb: Annotated[int, "MiB of memory"]
    vcpus: Annotated[int, "virtual CPUs that are online"]
    state: Annotated[str, "six letters: rbpscd"]
    time: Annotated[float, "seconds of CPU time"]
    uuid: Annotated[str, "its handle"]
    shutdown_reason: Annotated[int | None, "SHUTDOWN_* (xen/sched.h), once it has stopped"]


class XlVcpuRow(TypedDict):
    """`hvsim xl vcpu-list --json`: one of a list"""

    name: Annotated[str | None, "name of the domain"]
    domid: Annotated[int, "its number"]
    vcpu: Annotated[int, "number of the virtual CPU"]
    cpu: Annotated[int, "the CPU that it was on last"]
    state: Annotated[str, "three letters: r, b, p"]
    running: Annotated[bool, "whether it runs just now"]
    time: Annotated[float, "seconds of CPU time"]
    hard: Annotated[str, "CPUs that it may run on"]
    soft: Annotated[str, "CPUs that it would rather run on"]


class XlDiskRow(TypedDict):
    """`hvsim xl block-list --json`: one of a list"""

    vdev: Annotated[int, "number of the device"]
    backend_domid: Annotated[int, "the domain that serves it"]
    handle: Annotated[int, "its handle"]
    state: Annotated[int, "XenbusState of the frontend"]
    event_channel: Annotated[int, "its port"]
    ring_ref: Annotated[int, "grant of its ring"]
    backend: Annotated[str, "directory of the backend's half"]


class XlInterfaceRow(TypedDict):
    """`hvsim xl network-list --json`: one of a list"""

    devid: Annotated[int, "number of the device"]
    backend_domid: Annotated[int, "the domain that serves it"]
    mac: Annotated[str, "its MAC address"]
    handle: Annotated[int, "its handle"]
    state: Annotated[int, "XenbusState of the frontend"]
    event_channel: Annotated[int, "its port"]
    tx_ring_ref: Annotated[int, "grant of its transmit ring"]
    rx_ring_ref: Annotated[int, "grant of its receive ring"]
    backend: Annotated[str, "directory of the backend's half"]
    frontend_path: Annotated[str, "directory of the frontend's half"]
    frontend: NotRequired[Annotated[dict[str, int] | None, "figures of that half; null: silent"]]
    backend_half: NotRequired[Annotated[dict[str, int] | None, "figures of the other half"]]
