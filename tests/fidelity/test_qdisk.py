"""Recordings 52 and 53: a guest whose disk is a qcow2 that QEMU serves.

QEMU is the real one on both sides, so what it writes is compared with what it wrote there.  The
recording's labels do not tell xl's connections from QEMU's; they are one row here.  What may differ
stands in the table, with its reason.

Seen red: with a script node in the backend's half, and with the pid of QEMU's parent as that of
QEMU (its value is not compared, that it is QEMU's is).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.fidelity.recording import MUTATIONS, Entry, mutations, trace
from tests.support.lab_host import LabHost
from tests.support.qdisk_labs import Image, need

pytestmark = pytest.mark.interop

OF_THE_DISK = re.compile(
    r"/local/domain/0/(backend/qdisk|device-model)(/.*)?"
    r"|/(libxl|local/domain)/GUEST/(device/vbd/\d+|image/device-model-pid)(/.*)?"
)
VALUES = {
    r".*/(ring-ref|event-channel)": "grant references and ports are made equal",
    r".*/image/device-model-pid": "numbers of processes",
}
CONFIG = (
    'name="duq"\nvcpus=1\nmemory=160\nmaxmem=160\n'
    'disk=["format=qcow2,vdev=xvda,access=rw,target={}"]\n'
)


def equalled(entries: Iterable[Entry], domid: int, image: str) -> list[Entry]:
    """Those of the disk and of QEMU, numbers and names made equal."""
    found = []
    for entry in entries:
        path = re.sub(
            rf"/(domain|libxl|qdisk|device-model)/{domid}(?=/|$)", r"/\1/GUEST", entry.path
        )
        value = entry.value.replace(image, "IMAGE")
        value = re.sub(rf"/(domain|qdisk)/{domid}/", r"/\1/GUEST/", value)
        if entry.verb == "SET_PERMS":
            value = re.sub(rf"\b([nrwb]){domid}\b", r"\1GUEST", value)
        if path.endswith("/frontend-id"):
            value = value.replace(str(domid), "GUEST")
        if any(re.fullmatch(pattern, path) for pattern in VALUES):
            value = "*"
        if OF_THE_DISK.fullmatch(path):
            found.append(Entry(entry.who, entry.verb, path, value, entry.error))
    return found


def here(rows: list[dict[str, Any]]) -> list[Entry]:
    """What changed the lab's store."""
    found = []
    for row in rows:
        if row["op"] not in MUTATIONS or row["label"] == "TEST":
            continue
        path = row["path"]
        if not path.startswith("/"):
            path = f"/local/domain/{row['domid']}/{path}"
        # QEMU's connections have only a number.
        who = "domU" if row["domid"] else re.sub(r"s\d+", "XL", row["label"])
        found.append(Entry(who, row["op"], path, row.get("value", ""), row.get("error", "")))
    return found


def rows(entries: list[Entry]) -> dict[str, list[str]]:
    """Writer -> what it did, in its order."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.who, []).append(str(entry))
    return found


def states(entries: list[Entry]) -> list[str]:
    """The order of states over all writers."""
    return [str(one) for one in entries if re.search(r"vbd/\d+/state|qdisk/.*/state", one.path)]


def test_create_with_a_qcow2(tmp_path: Path) -> None:
    need()
    image = Image(tmp_path / "q1.qcow2", "qcow2").make("64M")
    with LabHost(tmp_path) as host:
        domid = host.create(CONFIG.format(image.path), program="domains.guests.idle:main")
        host.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")
        with host.store() as store:
            pid = store.read(f"/local/domain/{domid}/image/device-model-pid")
        assert Path(f"/proc/{pid}/exe").resolve().name.endswith("qemu-system-i386")
        lab = equalled(here(host.trace()), domid, str(image.path))
    recorded = mutations(trace("52-create-qdisk-vif", {"domU": 2}))
    real = equalled(recorded, 2, "/root/domu/q1.qcow2")
    assert len(real) > 80
    assert rows(lab) == rows(real)
    assert states(lab) == states(real)


def test_what_a_real_host_does_when_qemu_dies_and_what_we_do(tmp_path: Path) -> None:
    """Recording 53: there nothing changes any more, for ever.  Ours begins the device anew."""
    need()
    image = Image(tmp_path / "q1.qcow2", "qcow2").make("64M")
    with LabHost(tmp_path) as host:
        domid = host.create(CONFIG.format(image.path), program="domains.guests.idle:main")
        host.wait_node(f"/local/domain/{domid}/device/vbd/51712/state", "4")
        mark = len(host.trace())
        host.fault("kill", "0", f"qemu-{domid}")

        def anew() -> list[str]:
            lab = equalled(here(host.trace()[mark:]), domid, str(image.path))
            return [
                f"{one.who} {'F' if '/device/vbd/' in one.path else 'B'}={one.value}"
                for one in lab
                if re.search(r"(qdisk|device/vbd)/.*/state$", one.path)
                and one.verb == "WRITE"
                and not one.path.startswith("/libxl")
            ]

        host.wait(lambda: len(anew()) >= 6, "the handshake to be made anew")
        assert anew() == ["XL B=1", "XL F=1", "XL B=2", "domU F=3", "XL B=4", "domU F=4"]
