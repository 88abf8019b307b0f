"""What can still be told of a lab that failed: from everybody of it who answers, and from what it
has written down.

The hypervisor has its ledger and its messages, the toolstack who waits for whom, the store's
monitor the timelines of devices.  Of a lab that is dead there are its logs, the store's journal,
and what the monitor's store has put down at its end.  Nobody is waited for in vain: who does not
answer is left out, and ``missing.txt`` says so.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hvsim import textfile
from hvsim.errors import HvsimError
from hvsim.lab import postmortem, trust
from hvsim.lab.builtin import BUILTIN
from hvsim.lab.control import Control
from hvsim.lab.door import Door
from hvsim.lab.rundir import RunDir
from hvsim.observe import events, handshakes
from hvsim.observe.picture import picture
from hvsim.observe.ps_words import lines
from hvsim.observe.timeline import brief, render
from hvsim.printable import as_json, printable
from hvsim.xenstore.handshake.control import HANDSHAKES
from hvsim.xenstore.journal.nodes import JournalError, nodes
from hvsim.xs.blocking import connect
from hvsim.xs.requests import StoreError

STORE_PATIENCE: Final = 1.0
"""Seconds that a store has for an answer."""
EVENTS: Final = 5000
"""Records of the ledger that are kept, the newest."""
TIMELINES: Final = 32
"""Devices whose timelines are kept; those that are not Connected first."""
_ERROR: Final = re.compile(
    r"/local/domain/(?P<domid>\d+)/(?:error/(?P<device>.+)/error|(?P<backend>.+)/hotplug-error)"
)
_NAME: Final = re.compile(r"/local/domain/(\d+)/name")
_CONNECTED: Final = 4

_FAILURES: Final = (
    *(HvsimError, textfile.Unreadable, StoreError, OSError),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""Of a part that cannot be told; what a dying lab left may make no sense."""

Files = dict[str, bytes]


def gather(run: RunDir) -> Files:
    """The files of a post-mortem, by name; the most telling first."""
    found: Files = {}
    missing: list[str] = []
    tree: dict[str, str] = {}

    def part(name: str, make: Callable[[], str]) -> None:
        try:
            text = make()
        except _FAILURES as failure:
            missing.append(f"{name}: {failure}")
        else:
            if text:
                found[name] = text.encode("utf-8", "replace")

    if run.store == BUILTIN:
        part("store.txt", lambda: _as_lines(tree, _journal(run)))
    else:
        part("store.txt", lambda: _as_lines(tree, _socket(run)))
    part("errors.txt", lambda: _errors(tree))
    if run.running:
        part("ps.txt", lambda: _ps(run, found))
        part("doctor.txt", lambda: _doctor(run, found))
        part("events.txt", lambda: _events(run))
        part("dmesg.txt", lambda: _dmesg(run))
    if run.store == BUILTIN:
        part("timeline.txt", lambda: _timeline(run))
    part("lab.toml", lambda: _lab_file(run))
    for folder in (run.log, run.console):
        for log in sorted(folder.glob("*")):
            part(f"{folder.name}/{log.name}", lambda log=log: _end(log))  # type: ignore[misc]
    if missing:
        found["missing.txt"] = "".join(f"{printable(line)}\n" for line in missing).encode()
    return found


# -- the store ------------------------------------------------------------------------------------


def _as_lines(tree: dict[str, str], nodes: Iterator[tuple[str, str]]) -> str:
    tree.update(nodes)
    return "".join(f'{path} = "{value}"\n' for path, value in tree.items())


def _journal(run: RunDir) -> Iterator[tuple[str, str]]:
    """Every node of a store of ours with its value, made printable; it is not asked for that."""
    try:
        for path, value in nodes(str(run.xenstored.with_name("journal"))):
            yield _text(path), _text(value)
    except JournalError as failure:
        raise HvsimError(str(failure)) from None


def _socket(run: RunDir) -> Iterator[tuple[str, str]]:
    """Every node of a real store, as far as it answers."""
    with connect(str(run.xenstored), "LAB", run.name, STORE_PATIENCE) as store:
        left = [""]
        while left:
            path = left.pop()
            yield path or "/", printable(str(store.read(path or "/")))
            names = store.directory(path or "/")
            left += [f"{path}/{name}" for name in reversed(names)]


def _text(data: bytes) -> str:
    return printable(data.decode("utf-8", "surrogateescape"))


def _errors(tree: Mapping[str, str]) -> str:
    """What drivers and scripts have reported, and who; from the nodes of the store."""
    names = {match[1]: value for path, value in tree.items() if (match := _NAME.fullmatch(path))}
    said = []
    for path, value in tree.items():
        match = _ERROR.fullmatch(path)
        if match is not None and value:
            who = f"{names.get(match['domid'], 'domain')} (domain {match['domid']})"
            how = "says" if match["device"] else "has a hotplug script that says"
            said.append(f"{match['device'] or match['backend']}: {who} {how}: {value}\n")
    return "".join(said)


# -- those who answer -----------------------------------------------------------------------------


def _ps(run: RunDir, found: Files) -> str:
    with Control(run.control, alive=lambda: run.running, waits=run.waits()) as control:
        seen = picture(run, control, full=True)
    found["ps.json"] = as_json(seen, 2).encode()
    return "".join(f"{printable(line)}\n" for line in lines(seen))


def _doctor(run: RunDir, found: Files) -> str:
    """Who kept whom waiting, and the facts that say so (``hvsim doctor --post-mortem``)."""
    from hvsim.observe.diagnosis.looking import look
    from hvsim.observe.diagnosis.remains import FACTS, kept
    from hvsim.observe.diagnosis.told import told
    from hvsim.observe.diagnosis.words import lines as said

    facts = look(run)
    found[FACTS] = kept(facts)
    return "".join(f"{printable(line)}\n" for line in said(told(facts), False))


def _events(run: RunDir) -> str:
    records = list(events.snapshot(run))[-EVENTS:]
    return "".join(f"{printable(events.line(record))}\n" for record in records)


def _dmesg(run: RunDir) -> str:
    with Door(run.door) as door:
        return door.console()


def _timeline(run: RunDir) -> str:
    """The timeline of each device, from the store's monitor, or from what that has left."""
    devices, histories = _alive(run) if run.running else _left(run)
    if not devices:
        return ""
    devices.sort(
        key=lambda row: all(row[half]["state"] == _CONNECTED for half in handshakes.HALVES)
    )
    said = [*brief(devices, {})]
    for row in devices[:TIMELINES]:
        said += ["", "", *render(row, histories(row), {})]
    if len(devices) > TIMELINES:
        said += ["", f"and {len(devices) - TIMELINES} devices more"]
    return "".join(f"{printable(line)}\n" for line in said)


_History = Callable[[handshakes.Row], list[handshakes.Row]]


def _alive(run: RunDir) -> tuple[list[handshakes.Row], _History]:
    with connect(str(run.xenstored), "LAB", run.name, STORE_PATIENCE) as store:
        devices = handshakes.devices(store)
        known = {row["device"]: handshakes.history(run, store, row) for row in devices}
    return devices, lambda row: known[row["device"]]


def _left(run: RunDir) -> tuple[list[handshakes.Row], _History]:
    data = trust.read(run.xenstored.parent, HANDSHAKES)
    raw: Any = json.loads(data or b"{}")
    records = raw.get("records", {})
    devices = [handshakes.named(row) for row in raw.get("devices", [])]
    return devices, lambda row: list(records.get(row["device"], []))


# -- what is written down -------------------------------------------------------------------------


def _lab_file(run: RunDir) -> str:
    name = run.record.get("lab_file")
    return textfile.read(str(name), "replace") if name else ""


def _end(log: Path) -> str:
    """The end of a log; a program of its own may have put anything there."""
    fd = os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - postmortem.FILE_MAX))
        return file.read(postmortem.FILE_MAX).decode("utf-8", "replace")
