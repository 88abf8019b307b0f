"""One half of a split device in the store, as Linux' xenbus sees it.

A device is a directory: ``device/<type>/<id>`` for a frontend, ``backend/<type>/<domid>/<id>`` for
a backend, both relative to the domain's own path; its keys name the other end.  The device knows
where both directories are, writes its own ``state``, and reports errors where ``xl`` and people
look for them.  Everything that is read from the other end was written by a peer and is checked
before it is used.

Source: Linux ``drivers/xen/xenbus/xenbus_client.c`` and ``xenbus_probe.c``; ``xen/io/xenbus.h``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Protocol

from hvsim.abi.hypercall import DOMID_FIRST_RESERVED
from hvsim.abi.xenbus import XenbusState
from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus.state import Half, may_switch, parse_state
from hvsim.errors import Refused
from hvsim.names.number import unsigned
from hvsim.xs.client import StoreClient, StoreError, StoreNotFound, Transaction, Watch
from hvsim.xs.requests import Request


class Owner(Protocol):
    """What a device needs of the bus that it is on."""

    store: StoreClient
    vcpu: VCPU
    log: Callable[[str], None]

    @property
    def devices(self) -> Mapping[str, Device]:
        """By nodename, the devices that are on the bus."""

    def remove_device(self, device: Device) -> None:
        """Take *device* off the bus."""

    def otherend_event(self, device: Device) -> None:
        """The other end's state was written: tell the driver."""

    def guard(self, device: Device, fn: Callable[[], None]) -> bool:
        """Run driver code for *device*; what it raises is the device's fatal error."""


class Device:
    """What both halves share.  Made by the bus; drivers receive it in ``probe``.

    Attributes:
        nodename: own directory, relative to the domain's path (``device/vbd/51712``).
        devicetype: ``vbd``, ``vif``, ...
        otherend: absolute path of the other end's directory, "" before it is known.
        otherend_id: domid of the other end, -1 before it is known.
        state: own state as this half last wrote it (the toolstack may have written over it).
        otherend_state: the other end's state as last reported to the driver.
    """

    half: ClassVar[Half]
    path_key: ClassVar[str]
    id_key: ClassVar[str]

    def __init__(self, bus: Owner, nodename: str, devicetype: str) -> None:
        self.nodename = nodename
        self.devicetype = devicetype
        self.otherend = ""
        self.otherend_id = -1
        self.state = XenbusState.Initialising
        self.otherend_state = XenbusState.Unknown
        self._bus = bus
        self._otherend_watch: Watch | None = None
        self._watches: list[Watch] = []
        self._listeners: dict[str, Callable[[], None]] = {}

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.nodename} {self.state.name}, "
            f"other end {self.otherend or '?'} {self.otherend_state.name}>"
        )

    @property
    def store(self) -> StoreClient:
        """The domain's store connection (own paths are relative)."""
        return self._bus.store

    @property
    def registered(self) -> bool:
        """False from the moment the bus begins to remove the device."""
        return self._bus.devices.get(self.nodename) is self

    # -- keys ------------------------------------------------------------------------------

    def path(self, key: str) -> str:
        """Path of *key* in the device's own directory."""
        return f"{self.nodename}/{key}"

    def otherend_path(self, key: str) -> str:
        """Path of *key* in the other end's directory."""
        return f"{self.otherend}/{key}"

    def read(self, key: str, default: str | None = None, tx: int = 0) -> str | None:
        """Value of an own *key*; *default* when the node does not exist.  Raises StoreError."""
        return self._read(self.path(key), default, tx)

    def read_otherend(self, key: str, default: str | None = None, tx: int = 0) -> str | None:
        """Value of *key* at the other end; *default* when it does not exist, is unreadable, or
        the whole directory has gone.  Untrusted.  Raises StoreError for anything else."""
        return self._read(self.otherend_path(key), default, tx)

    def read_otherend_many(self, keys: Sequence[str]) -> list[str | None]:
        """Values of several *keys* of the other end in one go, None for each that is missing."""
        return self.store.read_many([self.otherend_path(key) for key in keys])

    def read_many(self, keys: Sequence[str]) -> list[str | None]:
        """Values of several own *keys* in one go, None for each that is missing."""
        return self.store.read_many([self.path(key) for key in keys])

    def _read(self, path: str, default: str | None, tx: int) -> str | None:
        try:
            return self.store.read(path, tx)
        except StoreNotFound:
            return default
        except StoreError as error:
            # A peer's directory that was removed below an unreadable parent answers EACCES.
            if error.errno == errno.EACCES:
                return default
            raise

    def write(self, key: str, value: str | int, tx: int = 0) -> None:
        """Write an own *key*.  Raises StoreError."""
        self.store.write(self.path(key), str(value), tx)

    def write_many(self, values: dict[str, str | int], what: str) -> None:
        """Write several own keys in one transaction, so that the peer sees all or none.

        Raises: StoreError, also EAGAIN when the transaction met a conflict too often.
        """

        def body(tx: Transaction) -> None:
            tx.write_many({self.path(key): str(value) for key, value in values.items()})

        self.store.transaction(body, f"{self.nodename}: {what}")

    def watch(self, key: str, callback: Callable[[], None]) -> None:
        """Call *callback* whenever an own *key* changes, and once at once; until removal.

        blkback watches ``physical-device`` so.  An exception out of the callback becomes the
        device's fatal error.
        """

        def fired(_path: str) -> None:
            if self.registered:
                self._bus.guard(self, callback)

        self._watches.append(self.store.watch(self.path(key), fired))

    def listen(self, key: str, callback: Callable[[], None]) -> None:
        """Call *callback* when an own *key* changes from now on.

        This rides on the bus's own watch and costs the domain none: for keys that come late, of
        devices that a driver domain has many of.  An exception is treated as for :meth:`watch`.
        """
        self._listeners[key] = callback

    def key_changed(self, key: str) -> None:
        """Called by the bus: something was written at *key*, or removed there."""
        callback = self._listeners.get(key)
        if callback is not None:
            self._bus.guard(self, callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call *callback* after *delay* seconds, unless the device has been removed by then.  An
        exception is treated as for :meth:`watch`."""

        def due() -> None:
            if self.registered:
                self._bus.guard(self, callback)

        self._bus.vcpu.call_later(delay, due)

    # -- state -----------------------------------------------------------------------------

    def switch_state(self, new: XenbusState, then: Sequence[Request[object]] = ()) -> None:
        """Write the own state: one transaction {read own state; write new}, as every kernel does.

        Nothing is written when *new* is what this half wrote last, nor when the directory has
        gone (a plain write would create it again).  *then* goes with it (``transaction``).

        Raises: ValueError for a move that the state machine does not have; StoreError.
        """
        if new == self.state:
            return
        if not may_switch(self.half, self.state, new):
            raise ValueError(
                f"{self.nodename}: a {self.half.value} may not go from "
                f"{self.state.name} to {new.name}"
            )
        self.force_state(new, then)

    def force_state(self, new: XenbusState, then: Sequence[Request[object]] = ()) -> None:
        """As :meth:`switch_state`, also for a move that the state machine does not have: some
        real drivers make one.  Raises StoreError (EPERM in a store that is strict about it)."""
        path = self.path("state")

        def body(tx: Transaction) -> bool:
            try:
                tx.read(path)
            except StoreNotFound:
                return False
            tx.write(path, str(int(new)))
            return True

        if self.store.transaction(body, f"{self.nodename}: state {new.name}", then):
            self.state = new

    def read_state(self) -> XenbusState:
        """The own state as it stands in the store now (the toolstack may have written it)."""
        return parse_state(self.read("state"))

    def read_otherend_state(self) -> XenbusState:
        """The other end's state now; Unknown when it has gone."""
        return parse_state(self.read_otherend("state"))

    # -- errors ----------------------------------------------------------------------------

    def error(self, number: int, message: str) -> None:
        """Report an error that the device survives: log, and ``error/<nodename>/error`` =
        "<number> <message>" below the own domain path.  Never raises."""
        text = f"{abs(number)} {message}"
        self._bus.log(f"{self.devicetype} {self.short_name}: {text}")
        try:
            self.store.write(f"error/{self.nodename}/error", text)
        except StoreError as failure:
            self._bus.log(f"{self.nodename}: cannot write the error node: {failure}")

    def fatal(self, number: int, message: str) -> None:
        """Give the device up: :meth:`error`, then state Closing (xenbus_dev_fatal).  Never
        raises."""
        self.error(number, message)
        try:
            if self.state not in (XenbusState.Closing, XenbusState.Closed):
                self.switch_state(XenbusState.Closing)
        except StoreError as failure:
            self._bus.log(f"{self.nodename}: cannot switch to Closing: {failure}")

    @property
    def short_name(self) -> str:
        """The name in log lines, as Linux has it: ``vbd-1-51712``."""
        return "-".join(self.nodename.split("/")[1:])

    # -- life, called by the bus -----------------------------------------------------------

    def unregister(self) -> None:
        """Take the device off the bus: its driver's ``removed()`` runs before this returns, and
        a state of Closing that the toolstack left becomes Closed.  Idempotent."""
        self._bus.remove_device(self)

    def read_otherend_details(self) -> None:
        """Read who and where the other end is.

        Raises: Refused(EINVAL) for keys that are missing or make no sense,
            Refused(ENOENT) when the named directory does not exist; StoreError.
        """
        id_text, path = self.read_many([self.id_key, self.path_key])
        otherend_id = unsigned(id_text, DOMID_FIRST_RESERVED - 1)
        if otherend_id is None:
            raise Refused(errno.EINVAL, f"{self.nodename}/{self.id_key} is {id_text!r}")
        if not path or not path.startswith("/"):
            raise Refused(errno.EINVAL, f"{self.nodename}/{self.path_key} is {path!r}")
        try:
            self.store.directory(path)
        except StoreError as error:
            # EACCES is what a missing node below an unreadable parent answers.
            if error.errno not in (errno.ENOENT, errno.EACCES):
                raise
            text = f"{self.nodename}: no {self.path_key} at {path}"
            raise Refused(errno.ENOENT, text) from None
        self.otherend_id = otherend_id
        self.otherend = path

    def watch_otherend(self) -> None:
        """Set the watch on the other end's ``state``; it fires at once."""

        def fired(_path: str) -> None:
            if self.registered:
                self._bus.otherend_event(self)

        self._otherend_watch = self.store.watch(self.otherend_path("state"), fired)

    def unwatch_otherend(self) -> None:
        """Take that watch away again.  Idempotent; never raises."""
        watch, self._otherend_watch = self._otherend_watch, None
        if watch is not None:
            self._drop(watch)

    def drop_watches(self) -> None:
        """Take every watch of the device away.  Idempotent; never raises."""
        self.unwatch_otherend()
        watches, self._watches = self._watches, []
        for watch in watches:
            self._drop(watch)

    def _drop(self, watch: Watch) -> None:
        try:
            self.store.unwatch(watch)
        except StoreError as failure:
            self._bus.log(f"{self.nodename}: cannot drop a watch: {failure}")


class FrontendDevice(Device):
    """``device/<type>/<id>``: the half in the domain that uses the device."""

    half = Half.FRONTEND
    path_key = "backend"
    id_key = "backend-id"

    @property
    def device_id(self) -> int:
        """The number of the device (51712 for xvda), the last part of the directory's name."""
        return _number(self.nodename.rsplit("/", 1)[1])


class BackendDevice(Device):
    """``backend/<type>/<frontend-id>/<id>``: the half in the domain that serves the device."""

    half = Half.BACKEND
    path_key = "frontend"
    id_key = "frontend-id"

    @property
    def device_id(self) -> int:
        """The number of the device (51712 for xvda), the last part of the directory's name."""
        return _number(self.nodename.rsplit("/", 1)[1])

    def online(self) -> bool:
        """Whether the toolstack wants this device to exist (key ``online``; missing means no)."""
        value = self.read("online")
        return bool(unsigned(value))


def _number(text: str) -> int:
    """A device number from a store path; -1 for a name that is none."""
    number = unsigned(text)
    return -1 if number is None else number
