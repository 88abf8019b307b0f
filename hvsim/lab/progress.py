"""How far each device and each guest has come: a pure view of store values.

Nothing is read here. Whoever watches the store hands in (path, value); `missing()` then says
what a lab still waits for, and `changes` what a reader may want to see.
"""

from dataclasses import dataclass, field

from hvsim.abi.xenbus import XenbusState
from hvsim.lab.states import state_name

CONNECTED = str(int(XenbusState.Connected))
_ENDING = frozenset(str(int(state)) for state in (XenbusState.Closing, XenbusState.Closed))


@dataclass(slots=True)
class Device:
    """Both halves of one device."""

    domain: str
    domid: int
    kind: str
    devid: int
    label: str
    """How people call it: xvda."""
    backend_domain: str
    frontend: str
    """Store path of the frontend."""
    backend: str
    """Store path of the backend."""
    frontend_state: str | None = None
    backend_state: str | None = None
    told: set[str] = field(default_factory=set)
    """The paths of the states that the store has told of: of another one nothing is known."""
    complaints: dict[str, str] = field(default_factory=dict)
    """What is said to be wrong with it: the store path of each error node, and its text."""

    @property
    def connected(self) -> bool:
        """Are both halves Connected?"""
        return self.frontend_state == self.backend_state == CONNECTED

    def error_nodes(self) -> dict[str, str]:
        """Every store path where something may be said to be wrong, and who says it there."""
        frontend, backend = f"{self.domain}, the frontend,", f"{self.backend_domain}, the backend,"
        return {
            _error_node(self.frontend): frontend,
            _error_node(self.backend): backend,
            f"{self.frontend}/error": frontend,
            f"{self.backend}/error": backend,
            f"{self.backend}/hotplug-error": f"the hotplug script of {self.backend_domain}",
        }

    def doom(self) -> list[str]:
        """Why it will not connect, as it stands now, in words; empty while it may."""
        if self.connected:
            return []
        nodes = self.error_nodes()
        found = [
            f"{self.domain} {self.label}: {nodes[path]} says: {text}"
            for path, text in self.complaints.items()
        ]
        states = {self.domain: self.frontend_state, self.backend_domain: self.backend_state}
        closing = [name for name, state in states.items() if state in _ENDING]
        if closing and not found:
            found = [f"{self}: {' and '.join(closing)} gave the device up, and said no reason"]
        return found

    def __str__(self) -> str:
        """ "db-primary xvda <- storage: frontend Initialised, backend InitWait"."""
        states = (
            f"frontend {state_name(self.frontend_state)}, backend {state_name(self.backend_state)}"
        )
        return f"{self.domain} {self.label} <- {self.backend_domain}: {states}"


@dataclass(slots=True)
class Guest:
    """One domain whose program says when it is well."""

    name: str
    domid: int
    health: str | None = None
    ended: str | None = None
    """Why it will never be ready ("crashed", "gone"), or None."""

    @property
    def healthy(self) -> bool:
        """Has its program said that it is ready?"""
        return self.health is not None and (self.health == "ok" or self.health.startswith("ok "))


@dataclass(slots=True)
class Progress:
    """All devices and guests that a lab must bring up."""

    guests: dict[int, Guest] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    """Lines for a reader, oldest first; the caller empties it."""

    def add_guest(self, name: str, domid: int) -> None:
        """`name` must become healthy."""
        self.guests[domid] = Guest(name, domid)

    def add_device(self, device: Device) -> None:
        """`device` must become Connected."""
        self.devices.append(device)

    def paths(self) -> list[str]:
        """Every store path whose value matters."""
        found = [f"/local/domain/{domid}/data/health" for domid in self.guests]
        for device in self.devices:
            found += [
                f"{device.frontend}/state",
                f"{device.backend}/state",
                *device.error_nodes(),
            ]
        return found

    def update(self, path: str, value: str | None) -> None:
        """The store says that `path` has `value` (None: there is no such node)."""
        for guest in self.guests.values():
            if path == f"/local/domain/{guest.domid}/data/health" and value != guest.health:
                guest.health = value
                if value:
                    self.changes.append(f"{guest.name}: {_health(value)}")
        for device in self.devices:
            self._update_device(device, path, value)

    def _update_device(self, device: Device, path: str, value: str | None) -> None:
        if path in (f"{device.frontend}/state", f"{device.backend}/state"):
            before = str(device), len(device.told)
            device.told.add(path)
            if path == f"{device.frontend}/state":
                device.frontend_state = value
            else:
                device.backend_state = value
            # Before both are known, "absent" would be said of a half that nobody has looked at.
            if len(device.told) == 2 and (str(device), 2) != before:
                self.changes.append(str(device))
        elif path in device.error_nodes():
            if not value:
                device.complaints.pop(path, None)
            elif value != device.complaints.get(path):
                device.complaints[path] = value
                self.changes.append(f"{device.domain} {device.label}: {value}")

    def end(self, domid: int, why: str) -> None:
        """Domain `domid` has ended and will not become ready."""
        guest = self.guests.get(domid)
        if guest is not None and guest.ended is None:
            guest.ended = why
            self.changes.append(f"{guest.name}: {why}")

    def failed(self) -> list[str]:
        """What can no longer become ready, in words."""
        return [f"{guest.name} {guest.ended}" for guest in self.guests.values() if guest.ended]

    def doomed(self) -> list[str]:
        """What is wrong with devices that will not connect, in words.  One of their domains may
        have ended, which says more."""
        return [text for device in self.devices for text in device.doom()]

    def missing(self) -> list[str]:
        """What the lab still waits for, in words; empty when it is ready."""
        waiting = [str(device) for device in self.devices if not device.connected]
        waiting += [
            f"{guest.name}: its own health check says {guest.health or 'nothing'}"
            for guest in self.guests.values()
            if not guest.healthy
        ]
        return waiting

    @property
    def ready(self) -> bool:
        """Every device Connected and every guest healthy?"""
        return not self.missing()


def _error_node(nodename: str) -> str:
    """Where a driver reports what is wrong with its half (xenbus_dev_error)."""
    _, local, domain, domid, *rest = nodename.split("/") + [""] * 4
    return f"/{local}/{domain}/{domid}/error/{'/'.join(part for part in rest if part)}/error"


def _health(value: str) -> str:
    return "healthy" if value == "ok" else f"health {value}"
