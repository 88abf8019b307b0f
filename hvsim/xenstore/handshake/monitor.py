"""The handshake monitor: what both halves of every device wrote, who wrote it, and which rules of
the handshake (``rules``) that breaks.

Pure: it is told of committed writes and removals and of reads that found nothing, asks for nodes
through a function, and has its clock handed in.  Whatever is not below ``device/`` or ``backend/``
of a domain costs one look at the path (``places.concerns``).  What is kept is bounded: devices,
records for each, keys in a record, length of names and values.

In ``record`` mode a breach is noted and the write stands; in ``strict`` mode :meth:`Monitor.check`
refuses it with EPERM before anything is changed.  The history lives with the daemon: after its
death it begins anew from the states that stand in the store.  A monitor that is laid over a store
of which it knows only what it is told (a recording) does not judge the first step of a half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Unpack

from hvsim.abi.errno import EPERM
from hvsim.abi.xenbus import XenbusState
from hvsim.domain.xenbus.state import Half, parse_state
from hvsim.xenstore.handshake.device import MAX_KEYS, MAX_TEXT, Device, More, shown
from hvsim.xenstore.handshake.places import Place, above, locate
from hvsim.xenstore.handshake.rules import Breach, Writer, early_read, judge
from hvsim.xenstore.rules.errors import Refused

MAX_DEVICES: Final = 512
MAX_ERROR: Final = 200
"""Characters kept of a half's error message."""

Lookup = Callable[[bytes], bytes | None]
"""A path to the value of its node, None where there is none."""
Report = Callable[[int, str], None]
"""Hears of breaches: the writer's domid, and a text.  Of many of one device it hears of the first
few, and then ever more seldom, so that nobody can flood it."""
REPORTED: Final = 8
"""Breaches of a device that are all reported; of more, the 16th, 32nd, 64th, ..."""

NOBODY: Final = Writer("xenstored", 0, True)
"""Who removes what belonged to a domain that is no more."""


class Monitor:
    """Watches over every device of the store.

    Args:
        clock: monotonic seconds.
        lookup: the store's committed nodes.
        strict: refuse what breaks a rule.
        report: hears of every breach.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        lookup: Lookup,
        strict: bool = False,
        report: Report = lambda domid, text: None,
    ) -> None:
        self.strict = strict
        self.devices: dict[str, Device] = {}
        self._unseen: XenbusState | None = None
        self._clock = clock
        self._lookup = lookup
        self._report = report

    def adopt(self, paths: Iterable[bytes]) -> None:
        """Take over what stands in the store, *paths* being all of its nodes: from now on, what
        this monitor has not seen does not exist."""
        self._unseen = XenbusState.Unknown
        for path in paths:
            place = locate(path) if path.endswith(b"/state") else None
            if place is not None and place.key == "state" and not place.error:
                self._device(place).states[place.half] = _state(self._lookup(path))

    # -- what the store tells --------------------------------------------------------------------

    def check(self, writer: Writer, path: bytes, value: bytes, view: Lookup) -> None:
        """A write is about to be made in the store as *view* shows it to the writer.

        Raises: Refused(EPERM) in strict mode when it breaks a rule; that is recorded as well.
        """
        place = locate(path) if self.strict and path.endswith(b"/state") else None
        if place is None or place.key != "state" or place.error:
            return
        device = self._device(place)
        old, new = _state(view(path)), _state(value)
        breaches = self._judge(device, place.half, writer, old or XenbusState.Unknown, new, view)
        if breaches:
            self._enter(
                device,
                place.half,
                "refused",
                writer,
                breaches,
                old=old,
                new=int(new),
                value=shown(value),
            )
            raise Refused(EPERM)

    def wrote(self, writer: Writer, paths: Iterable[bytes]) -> None:
        """These nodes were written, or made, or removed, at one moment; they stand in the store."""
        touched: dict[tuple[str, Half], tuple[Device, dict[str, str]]] = {}
        for path in paths:
            place = locate(path)
            if place is None:
                if self._lookup(path) is None and above(path) is not None:
                    self._removed_above(writer, path)
                continue
            value = self._lookup(path)
            if place.error:
                if value and place.key == "error":
                    self._enter(
                        self._device(place),
                        place.half,
                        "error",
                        writer,
                        [],
                        text=shown(value, MAX_ERROR),
                    )
                continue
            if value is None:
                if not place.key and place.device in self.devices:
                    self._gone(self._device(place), place.half, writer, path)
                continue
            device = self._device(place)
            _, keys = touched.setdefault((device.name, place.half), (device, {}))
            if place.key:
                keys[place.key] = shown(value)
        for (_, half), (device, keys) in touched.items():
            if keys:
                self._written(device, half, writer, keys)

    def missed(self, reader: Writer, path: bytes) -> None:
        """A read found nothing."""
        place = locate(path)
        if place is None or place.error or place.device not in self.devices:
            return
        device = self.devices[place.device]
        breaches = early_read(
            device.pair,
            place.half,
            device.states[place.half],
            reader,
            place.key,
            self._has(device, self._lookup),
        )
        if breaches:
            self._enter(
                device, place.half, "early-read", reader, breaches, key=place.key[:MAX_TEXT]
            )

    # -- inside ----------------------------------------------------------------------------------

    def _device(self, place: Place) -> Device:
        device = self.devices.get(place.device)
        if device is None:
            if len(self.devices) >= MAX_DEVICES:
                gone = (name for name, one in self.devices.items() if one.gone)
                del self.devices[next(gone, next(iter(self.devices)))]
            frontend = f"/local/domain/{place.frontend_domid}/device/{place.kind}/{place.devid}"
            device = self.devices[place.device] = Device(
                place.device, place.kind, frontend, self._unseen
            )
            self._name(device, place.frontend_domid)
        if place.half is Half.BACKEND and (device.owners[Half.BACKEND], device.backend_kind) != (
            place.owner,
            place.backend_kind,
        ):
            device.owners[Half.BACKEND] = place.owner
            device.backend_kind = place.backend_kind
            device.paths[Half.BACKEND] = (
                f"/local/domain/{place.owner}/backend/{place.backend_kind}/"
                f"{place.frontend_domid}/{place.devid}"
            )
            device.states[Half.BACKEND] = self._unseen
            self._name(device, place.owner)
        return device

    def _name(self, device: Device, domid: int) -> None:
        name = self._lookup(b"/local/domain/%d/name" % domid)
        if name and len(device.names) < MAX_KEYS:
            device.names[str(domid)] = shown(name)

    def _has(self, device: Device, view: Lookup) -> Callable[[str], bool]:
        base = device.paths[Half.FRONTEND]
        return lambda key: view(f"{base}/{key}".encode()) is not None

    def _judge(
        self,
        device: Device,
        half: Half,
        writer: Writer,
        old: XenbusState | None,
        new: XenbusState,
        view: Lookup,
    ) -> list[Breach]:
        other = Half.BACKEND if half is Half.FRONTEND else Half.FRONTEND
        path = device.paths[other]
        beyond = _state(view(f"{path}/state".encode())) if path else XenbusState.Unknown
        return judge(device.pair, half, writer, old, new, self._has(device, view), beyond or None)

    def _written(self, device: Device, half: Half, writer: Writer, keys: dict[str, str]) -> None:
        text = keys.pop("state", None)
        kept = {key[:MAX_TEXT]: value for key, value in list(keys.items())[:MAX_KEYS]}
        more = len(keys) - len(kept)
        if text is None:
            last = device.records[-1] if device.records else None
            if (
                last is not None
                and last["kind"] == "keys"
                and last["half"] == half.value
                and (last["writer"], last["domid"]) == (writer.label, writer.domid)
                and len(last["keys"]) + len(kept) <= MAX_KEYS
            ):
                last["keys"].update(kept)  # one key after the other: one piece of news
            else:
                self._enter(device, half, "keys", writer, [], keys=kept, more=more)
            return
        old, new = device.states[half], parse_state(text)
        breaches = self._judge(device, half, writer, old, new, self._lookup)
        device.states[half] = new
        self._enter(
            device,
            half,
            "state",
            writer,
            breaches,
            old=old,
            new=int(new),
            value=text,
            keys=kept,
            more=more,
        )

    def _removed_above(self, writer: Writer, path: bytes) -> None:
        """*path* was removed, and with it every half that lay below."""
        start = path.decode("ascii") + "/"
        for device in self.devices.values():
            for half, where in device.paths.items():
                if where.startswith(start) and self._lookup(where.encode()) is None:
                    self._gone(device, half, writer, path)

    def _gone(self, device: Device, half: Half, writer: Writer, path: bytes) -> None:
        if path.decode("ascii") != device.paths[half] and not device.paths[half].startswith(
            path.decode("ascii") + "/"
        ):
            return  # an earlier backend's directory
        if device.states[half]:
            old, device.states[half] = device.states[half], XenbusState.Unknown
            self._enter(device, half, "removed", writer, [], old=old, path=shown(path))

    def _enter(
        self,
        device: Device,
        half: Half,
        kind: str,
        writer: Writer,
        breaches: list[Breach],
        **more: Unpack[More],
    ) -> None:
        device.seq += 1
        device.records.append(
            {
                "seq": device.seq,
                "mono": round(self._clock(), 6),
                "half": half.value,
                "owner": device.owners[half],
                "kind": kind,
                "writer": writer.label,
                "domid": writer.domid,
                "breaches": [
                    {
                        "rule": one.rule.name,
                        "what": one.text,
                        "text": one.rule.text,
                        "source": one.rule.source,
                    }
                    for one in breaches
                ],
                **more,
            }
        )
        for one in breaches:
            device.breaches += 1
            number = device.breaches
            if number <= REPORTED or number & (number - 1) == 0:
                self._report(
                    writer.domid,
                    (
                        f"device {device.name}, {half.value}, by {writer.label}: {one.rule.name}"
                        f"{' (refused)' if kind == 'refused' else ''}: {one.text}; "
                        f"the rule: {one.rule.text}"
                    ),
                )


def _state(value: bytes | None) -> XenbusState:
    return parse_state(None if value is None else value.decode("ascii", "replace"))
