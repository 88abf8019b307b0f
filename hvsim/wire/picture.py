"""The picture of a host, as its parts tell it to each other and ``--json`` prints it: typed rows.

Each field says in its annotation what it means; the reference of ``hvsim ps --json`` is made of
that.  The state of a half is an XenbusState (xen/io/xenbus.h), null where its node is not there.
"""

from typing import Annotated, NotRequired, TypedDict

#: One device: its two halves, and its ring ("class" is a word of Python's, hence the form).
DeviceRow = TypedDict(
    "DeviceRow",
    {
        "class": Annotated[str, "its class: vbd, vif"],
        "devid": Annotated[int, "its number in that class: 51712, 0"],
        "vdev": Annotated[str, "what people call it: xvda, eth0"],
        "frontend_domid": Annotated[int, "the domain that uses it"],
        "frontend_state": Annotated[int | None, "state of the frontend"],
        "backend_class": Annotated[str, "the class of its backend: qdisk is QEMU's"],
        "backend_domid": Annotated[int, "the domain that serves it"],
        "backend": Annotated[str | None, "the name of that domain"],
        "backend_state": Annotated[int | None, "state of the backend"],
        "error": Annotated[str | None, "what a half or the hotplug script complains of"],
        "requests": Annotated[int | None, "index of its ring: requests so far, modulo 2**32"],
        "responses": Annotated[int | None, "index of its ring: responses so far, modulo 2**32"],
        "unanswered": Annotated[int | None, "requests in the ring without a response"],
        "waits_for": Annotated[str | None, "the backend's domain, when the device waits for it"],
        "waiting_seconds": Annotated[float | None, "how long it has been seen to wait"],
        "mac": NotRequired[Annotated[str | None, "of a vif: its address"]],
        "link": NotRequired[Annotated[str | None, "of a vif: down, while a rule has it so"]],
    },
)


class DomainRow(TypedDict):
    """One domain."""

    domid: Annotated[int, "its number"]
    name: Annotated[str | None, "its name; null once that has left the store"]
    role: Annotated[str, "dom0, driver or guest"]
    state: Annotated[str, "the six letters of xl list: rbpscd"]
    stalled: Annotated[bool, "whether a process of it is stopped by a signal"]
    health: Annotated[str | None, "what it says of itself: data/health"]
    pid: Annotated[int | None, "its main process"]
    pids: Annotated[dict[str, int | None], "all its processes, by name"]
    memory_mb: Annotated[int, "MiB of memory"]
    vcpus: Annotated[int, "virtual CPUs that are online"]
    cpu_seconds: Annotated[float, "CPU time so far"]
    walls: Annotated[list[str], "walls that this machine does not allow it"]
    uuid: Annotated[str, "its handle"]
    restart: Annotated[str, "never, or always: made again when it dies"]
    restarts: Annotated[int, "how often that was done"]
    deaths: Annotated[int, "how often it has died of itself within the last minute"]
    program: Annotated[str | None, "what it runs"]
    devices: Annotated[list[DeviceRow], "the devices that it uses"]


class ProcessRow(TypedDict):
    """A process that is no domain: the hypervisor, its spawner, the programs of dom0."""

    name: Annotated[str, "what it is called"]
    role: Annotated[str, "hypervisor, dom0, or process when nobody can tell"]
    domid: Annotated[int | None, "0 for a program of dom0"]
    pid: Annotated[int | None, "its number on this machine"]
    walls: Annotated[list[str], "always empty: it is trusted"]
    stalled: Annotated[bool, "whether it is stopped by a signal"]


class WaitRow(TypedDict):
    """An edge of the graph of who waits for whom."""

    domain: Annotated[str | None, "who waits"]
    device: Annotated[str, "with which of its devices"]
    on: Annotated[str, "for whom: a domain, or a program of dom0"]
    why: Annotated[str, "the reason, as far as it is known"]
    unanswered: Annotated[int | None, "requests in the ring without a response"]


class TroubleRow(TypedDict):
    """Who stands still, has died or is given up."""

    who: Annotated[str, "its name, as hvsim fault and hvsim xl take it"]
    what: Annotated[str, "stalled, dead, given-up, crashed, gone or full"]
    text: Annotated[str, "a sentence"]


class PortRow(TypedDict):
    """An event channel port of a domain (xen/event_channel.h)."""

    port: Annotated[int, "its number"]
    status: Annotated[str, "unbound, interdomain or virq"]
    remote: Annotated[int | None, "the domain at the other end, or that may bind"]
    remote_port: Annotated[int | None, "the port at the other end"]
    virq: Annotated[int | None, "the virtual interrupt that rings here"]
    pending: Annotated[bool, "whether it has rung and nobody has looked yet"]
    masked: Annotated[bool, "whether it may ring"]


class GrantRow(TypedDict):
    """A page of a domain that another has mapped (xen/grant_table.h)."""

    ref: Annotated[int, "the grant reference"]
    peer: Annotated[int, "the domain that has mapped it"]
    gfn: Annotated[int, "the page, as its owner counts"]
    readers: Annotated[int, "mappings to read"]
    writers: Annotated[int, "mappings to write"]


class HoldingsRow(TypedDict):
    """What a domain holds in the hypervisor."""

    domid: Annotated[int, "the domain"]
    ports: Annotated[list[PortRow], "its event channels"]
    grants: Annotated[list[GrantRow], "pages of its own that others have mapped, the first of them"]
    mapped: Annotated[int, "pages of others that it has mapped"]
    users: Annotated[int, "mappings of its own pages that others have, also of those left out"]
