"""The facts of a lab that is no more, from the folder of its post-mortem.

Of one that failed while it ran they were written down (`FACTS`).  Of one that died with its
hypervisor there are the nodes of its store and the reason: who was there, and how far each device
had come.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec

from hvsim.errors import HvsimError
from hvsim.lab import postmortem, trust
from hvsim.names import device as device_names
from hvsim.observe.diagnosis.facts import Facts
from hvsim.observe.rows import Picture, SeenDomain
from hvsim.toolstack.host.rows import state_number
from hvsim.wire.picture import DeviceRow

if TYPE_CHECKING:
    from collections.abc import Mapping

FACTS: Final = "facts.json"
_NODE: Final = re.compile(r'(/\S*) = "(.*)"')
_DEVICE: Final = re.compile(r"/libxl/(\d{1,5})/device/([a-z][a-z0-9-]*)/(\d{1,9})/backend")


def kept(facts: Facts) -> bytes:
    """The facts for the folder.  Its end is kept of a file that is too long, so this one is made
    short enough first: the oldest of the ledger are left out, then what each domain holds.  Nothing
    when that does not do: ``doctor.txt`` says what was found then."""
    fewer = msgspec.structs.replace(facts, ledger=facts.ledger[-50:])
    bare = [cast("SeenDomain", _without_holdings(row)) for row in facts.picture["domains"]]
    least = msgspec.structs.replace(fewer, picture={**facts.picture, "domains": bare})
    for some in (facts, fewer, least):
        data = msgspec.json.encode(some)
        if len(data) <= postmortem.FILE_MAX:
            return data
    return b""


def _without_holdings(row: SeenDomain) -> dict[str, object]:
    return {key: value for key, value in row.items() if key not in ("holdings", "last_acts")}


def facts_of(which: str) -> Facts:
    """Those of a post-mortem by its number, or of a folder.  Raises: HvsimError."""
    if which.isascii() and which.isdigit() and len(which) < 10:
        one = postmortem.find(int(which))
        return _facts(one.path, one.lab, "; ".join(one.why))
    folder = Path(which)
    if not folder.is_dir():
        raise HvsimError(f"{which}: a post-mortem is a folder; `hvsim postmortem` lists them")
    name, why = _about(folder)
    return _facts(folder, name, why)


def _about(folder: Path) -> tuple[str, str]:
    try:
        about = msgspec.json.decode(_read(folder, postmortem.ABOUT) or b"{}")
        return str(about["lab"]), "; ".join(map(str, about["why"]))
    except (msgspec.MsgspecError, KeyError, TypeError) as odd:
        raise HvsimError(f"{folder}: this is no post-mortem ({postmortem.ABOUT}: {odd})") from None


def _read(folder: Path, name: str) -> bytes:
    try:
        return trust.read(folder, name) or b""
    except OSError as failure:
        raise HvsimError(f"{folder / name}: {failure.strerror}") from None


def _facts(folder: Path, lab: str, why: str) -> Facts:
    data = _read(folder, FACTS)
    if not data and (folder / FACTS).exists():
        raise HvsimError(
            f"{folder}: the lab was too large for its facts to be kept; doctor.txt there says what "
            "was found"
        )
    if not data:
        return _of_the_store(folder, lab, why)
    try:
        return msgspec.json.decode(data, type=Facts)
    except msgspec.MsgspecError as odd:
        raise HvsimError(f"{folder / FACTS}: {odd}") from None


def _of_the_store(folder: Path, lab: str, why: str) -> Facts:
    text = _read(folder, "store.txt").decode("utf-8", "replace")
    tree = {found[1]: found[2] for line in text.splitlines() if (found := _NODE.fullmatch(line))}
    domains: dict[int, SeenDomain] = {}
    for path, value in tree.items():
        found = re.fullmatch(r"/local/domain/(\d{1,5})/name", path)
        if found:
            domains[int(found[1])] = _domain(int(found[1]), value)
    for path, backend in tree.items():
        device = _DEVICE.fullmatch(path)
        if device and int(device[1]) in domains:
            row = _device(tree, int(device[1]), device[2], int(device[3]), backend)
            domains[int(device[1])]["devices"].append(row)
    picture: Picture = {
        "lab": lab,
        "processes": [],
        "domains": [domains[domid] for domid in sorted(domains)],
        "waits": [],
        "troubles": [],
        "lost": "",
        "source": "store.txt",
        "unknown": "processes, rings and rules: the hypervisor was gone already",
    }
    return Facts(picture=picture, now=0.0, ended=why or f"lab {lab} has ended")


def _domain(domid: int, name: str) -> SeenDomain:
    return {
        "domid": domid,
        "name": name,
        "role": "guest" if domid else "dom0",
        "state": "------",
        "stalled": False,
        "health": None,
        "pid": None,
        "pids": {},
        "memory_mb": 0,
        "vcpus": 0,
        "cpu_seconds": 0.0,
        "walls": [],
        "uuid": "",
        "restart": "never",
        "restarts": 0,
        "deaths": 0,
        "program": None,
        "devices": [],
    }


def _device(tree: Mapping[str, str], domid: int, kind: str, number: int, backend: str) -> DeviceRow:
    parts = backend.split("/")
    owner = int(parts[3]) if len(parts) > 5 and parts[3].isdecimal() else -1
    front = f"/local/domain/{domid}/device/{kind}/{number}"
    return {
        "class": kind,
        "devid": number,
        "vdev": device_names.label(kind, number),
        "frontend_domid": domid,
        "frontend_state": state_number(tree.get(f"{front}/state")),
        "backend_class": parts[5] if len(parts) > 5 else kind,
        "backend_domid": owner,
        "backend": tree.get(f"/local/domain/{owner}/name"),
        "error": None,
        "backend_state": state_number(tree.get(f"{backend}/state")),
        "requests": None,
        "responses": None,
        "unanswered": None,
        "waits_for": None,
        "waiting_seconds": None,
    }
