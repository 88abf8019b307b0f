"""Recordings of a real host's store, played to the handshake monitor as if it had been there.

``*.states.txt`` are condensed: of a vif's keys they have the ring references but not the event
channels, which stand next to them in the full traces; they are put back.  Labels in recordings
are guesses: a relative ``backend/...`` path belongs to whoever's directory the toolstack made, so
a driver domain that is labelled KERN0 there is found by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hvsim.xenstore.handshake.monitor import Monitor
from hvsim.xenstore.handshake.rules import Writer
from tests.fidelity.recording import text

_LINE = re.compile(r"(\d\d:\d\d:\d\d) (\S+) +(.+)")
_WRITE = re.compile(r"(?P<path>\S+) = (?P<value>'[^']*'|\S*)")
_FRONT = re.compile(r"/local/domain/(\d+)/device/([^/]+/\d+)")
_BACK = re.compile(r"(?:/local/domain/(\d+)/)?backend/([^/]+)/(\d+)/(\d+)")


class Replay:
    """A store that is only a dict, with the monitor on it."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}
        self.now = 0.0
        self.monitor = Monitor(lambda: self.now, self._value)
        self._homes: dict[str, int] = {}
        self._owners: dict[str, int] = {}

    def _value(self, path: bytes) -> bytes | None:
        found = self.nodes.get(path.decode())
        return None if found is None else found.encode()

    def learn(self, lines: list[str]) -> None:
        """Find out which guest is meant by a label without a number."""
        labelled = {int(number) for line in lines for number in re.findall(r" domU(\d+) ", line)}
        for line in lines:
            for found in _FRONT.finditer(line):
                if int(found[1]) not in labelled:
                    self._homes.setdefault(found[2], int(found[1]))
            for found in _BACK.finditer(line):
                kind = "vbd" if found[2] == "qdisk" else found[2]
                if int(found[3]) not in labelled:
                    self._homes.setdefault(f"{kind}/{found[4]}", int(found[3]))

    def resolve(self, who: str, path: str) -> tuple[Writer, str]:
        """The writer, and the absolute path."""
        number = re.fullmatch(r"domU(\d+)", who)
        back = _BACK.match(path)
        if number is not None:
            domid = int(number[1])
        elif who == "domU":
            device = re.match(r"device/([^/]+/\d+)", path)
            domid = self._homes.get(device[1], -1) if device is not None else -1
        else:
            domid = 0
        if back is not None:
            name = "/".join(back.groups()[1:])
            if back[1] is not None:
                self._owners[name] = int(back[1])
            elif domid == 0:
                domid = self._owners.get(name, 0)
        if not path.startswith("/"):
            path = f"/local/domain/{domid}/{path}"
        return Writer(who, domid, domid == 0 and who != "KERN0"), path

    def write(self, writer: Writer, changes: dict[str, str | None]) -> None:
        """Commit some writes and removals (None) at one moment."""
        for path, value in changes.items():
            if value is None:
                for node in [n for n in self.nodes if n == path or n.startswith(path + "/")]:
                    del self.nodes[node]
            else:
                self.nodes[path] = value
        self.now += 1.0
        self.monitor.wrote(writer, [path.encode() for path in changes])

    @property
    def breaches(self) -> Iterator[tuple[str, str, str, str]]:
        """(device, half, writer, rule) of every breach, device by device."""
        for device in self.monitor.devices.values():
            for record in device.records:
                for breach in record["breaches"]:
                    yield device.name, record["half"], record["writer"], breach["rule"]

    @property
    def steps(self) -> int:
        """How many writes of a state were judged."""
        return sum(
            record["kind"] == "state"
            for device in self.monitor.devices.values()
            for record in device.records
        )


def play_states(name: str) -> Replay:
    """``<name>.states.txt``."""
    lines = text(f"{name}.states.txt").splitlines()
    replay = Replay()
    replay.learn(lines)
    for line in lines:
        match = _LINE.match(line)
        if match is None or "!! ERROR" in line:
            continue
        who, rest = match[2], match[3]
        verb, _, path = rest.partition(" ")
        if verb in ("RM", "MKDIR"):
            writer, path = replay.resolve(who, path.strip())
            replay.write(writer, {path: None if verb == "RM" else ""})
            continue
        write = _WRITE.match(rest)
        if write is None:
            continue
        writer, path = replay.resolve(who, write["path"])
        changes: dict[str, str | None] = {path: write["value"].strip("'")}
        if path.endswith("/tx-ring-ref"):
            directory = path.removesuffix("tx-ring-ref")
            changes |= {f"{directory}event-channel-tx": "?", f"{directory}event-channel-rx": "?"}
        replay.write(writer, changes)
    return replay


_REQUEST = re.compile(
    r"\d\d:\d\d:\d\d (?P<who>\S+) +(?P<verb>[A-Z_]+) +(?P<path>\S*) ?(?P<value>.*?)"
    r"(?:  => (?P<reply>.*))?$"
)


def play_trace(name: str) -> Replay:
    """``<name>.trace-readable.txt``: whole, with reads and transactions."""
    lines = text(f"{name}.trace-readable.txt").splitlines()
    replay = Replay()
    replay.learn(lines)
    open_: dict[str, dict[Writer, dict[str, str | None]]] = {}
    for line in lines:
        match = _REQUEST.match(line)
        if match is None:
            continue
        who, verb, path = match["who"], match["verb"], match["path"]
        reply = match["reply"] or ""
        if verb == "TRANSACTION_START":
            open_[who] = {}
        elif verb == "TRANSACTION_END":
            changes = open_.pop(who, {})
            if path == "T" and "ERROR" not in reply:
                for writer, some in changes.items():
                    replay.write(writer, some)
        elif verb in ("WRITE", "MKDIR", "RM") and "ERROR" not in reply:
            writer, path = replay.resolve(who, path)
            value = None if verb == "RM" else match["value"]
            if verb == "MKDIR" and path in replay.nodes:
                continue
            if who in open_:
                open_[who].setdefault(writer, {})[path] = value
            else:
                replay.write(writer, {path: value})
        elif verb == "READ" and reply == "ERROR ENOENT":
            reader, path = replay.resolve(who, path)
            if path not in open_.get(who, {}).get(reader, {}):
                replay.monitor.missed(reader, path.encode())
    return replay
