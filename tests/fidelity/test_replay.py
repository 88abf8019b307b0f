"""The recorded commands, run in a lab: its store's trace against that of the real host.

Compared is what each writer did, in its order (paths, values, permissions, refusals), and the
order of the states over all writers.  What may differ stands in differences.py, with its reason.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fidelity.differences import DIFFERENCES, equalled, only, out_of_order
from tests.fidelity.recording import MUTATIONS, Entry, listing, mutations, trace
from tests.support.lab_host import LabHost

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SECTORS = 131072
WRITERS = {"d0": "KERN0", "XL": "XL", "CONS": "CONS", "SCRIPT": "SCRIPT"}


class Names:
    """Numbers of domains -> A, B, ... in the order of their making; uuids and images made equal."""

    def __init__(self, domids: list[int], images: Mapping[str, str]) -> None:
        self.letters = {str(domid): chr(ord("A") + i) for i, domid in enumerate(domids)}
        self.images = images

    def path(self, path: str) -> str:
        """A path with letters for numbers."""
        parts = UUID.sub("UUID", path).split("/")
        for place, part in enumerate(parts):
            before = parts[place - 1] if place else ""
            if (
                before in ("domain", "libxl", "vbd", "console", "vif")
                and part in self.letters
                and (place < 3 or parts[place - 2] != "device")
            ):
                parts[place] = self.letters[part]
        return "/".join(parts)

    def value(self, entry: Entry) -> str:
        """A value with letters for numbers."""
        value = entry.value
        for image, name in self.images.items():
            value = value.replace(image, name)
        if entry.verb == "SET_PERMS":
            return re.sub(r"\b([nrwb])(\d+)", lambda m: m[1] + self.letters.get(m[2], m[2]), value)
        if entry.path.endswith(("/domid", "/frontend-id")):
            return self.letters.get(value, value)
        return self.path(value) if value.startswith("/") else UUID.sub("UUID", value)

    def entry(self, entry: Entry) -> Entry:
        """An entry with everything made equal."""
        if entry.verb == "INTRODUCE":
            return Entry(entry.who, entry.verb, self.letters[entry.path], "GFN PORT")
        made = Entry(entry.who, entry.verb, self.path(entry.path), self.value(entry), entry.error)
        return equalled(made)


def there(name: str, domids: list[int]) -> list[Entry]:
    """What changed the store of the real host."""
    names = Names(domids, {})
    found = mutations(trace(name, {"domU": domids[0]}))
    return only("there", (names.entry(entry) for entry in found))


def ours(rows: list[dict[str, Any]], domids: list[int], images: Mapping[str, str]) -> list[Entry]:
    """What changed the lab's store."""
    names = Names(domids, images)
    found = []
    for row in rows:
        if row["op"] not in MUTATIONS or row["label"] == "TEST":
            continue
        path = row["path"]
        if not path.startswith("/") and row["op"] != "INTRODUCE":
            path = f"/local/domain/{row['domid']}/{path}"
        who = WRITERS.get(row["label"], "domU")
        entry = Entry(who, row["op"], path, row.get("value", ""), row.get("error", ""))
        found.append(names.entry(entry))
    return only("here", found)


def by_writer(entries: list[Entry]) -> dict[str, tuple[list[str], list[str]]]:
    """Writer -> (its row, and what of it may stand anywhere in the row).

    A guest's drivers run side by side, and so do their backends: a row for each.
    """
    rows: dict[str, tuple[list[str], list[str]]] = {}
    for entry in entries:
        driver = entry.who in ("domU", "KERN0") and is_vif(entry)
        row, anywhere = rows.setdefault(f"{entry.who} vif" if driver else entry.who, ([], []))
        (anywhere if out_of_order(entry) else row).append(str(entry))
    return {who: (row, sorted(anywhere)) for who, (row, anywhere) in rows.items()}


def is_vif(entry: Entry) -> bool:
    """Whether it is about a network interface."""
    return "/vif/" in entry.path


def states(entries: list[Entry]) -> list[str]:
    """The order of states over all writers: each half's state, the shutdown request.  Of two
    devices none waits for the other: those of interfaces come by themselves."""
    entries = [*(e for e in entries if not is_vif(e)), *filter(is_vif, entries)]
    return [
        str(entry)
        for entry in entries
        if entry.verb == "WRITE"
        and re.search(r"(/state|/online|/control/shutdown)$", entry.path)
        and not entry.path.startswith("/libxl/")
    ]


class Replay:
    """A lab with the recorded guest's config, and what its store saw since a mark."""

    def __init__(self, host: LabHost, home: Path) -> None:
        self.host = host
        self.images = {f"{home}/{name}": f"/root/domu/{name}" for name in ("d1.img", "d2.img")}
        self.home = home
        self.mark = 0

    def create(self) -> int:
        """The domain of recording 20."""
        return self.host.create(
            'name="du1"\nkernel="/root/domu/vmlinuz"\nramdisk="/root/domu/initrd.gz"\n'
            'extra="console=hvc0 myip=192.168.77.11"\nvcpus=2\nmemory=192\nmaxmem=192\n'
            f'disk=["format=raw,vdev=xvda,access=rw,target={self.home}/d1.img"]\n'
            'vif=["mac=00:16:3e:00:00:01,bridge=xenbr0"]\n'
            'on_poweroff="destroy"\non_reboot="restart"\non_crash="destroy"\n',
            program="domains.guests.idle:main",
        )

    def connected(self, domid: int, devid: int = 51712) -> None:
        """Wait until both halves of a disk are Connected, and the guest is ready."""
        for path in (
            f"/local/domain/{domid}/device/vbd/{devid}/state",
            f"/local/domain/0/backend/vbd/{domid}/{devid}/state",
        ):
            self.host.wait_node(path, "4")
        self.host.wait_node(f"/local/domain/{domid}/data/health", "ok")

    def since(self) -> list[dict[str, Any]]:
        """The trace since the mark; the mark moves."""
        rows = self.host.trace()
        rows, self.mark = rows[self.mark :], len(rows)
        return rows

    def gone(self) -> None:
        """Wait until only dom0 is there and the store says so."""
        self.host.wait(lambda: len(self.host.xl("list", json=True).data) == 1, "the domain to go")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    folder = tmp_path_factory.mktemp("replay")
    home = folder / "domu"
    home.mkdir()
    for name in ("d1.img", "d2.img"):
        with open(home / name, "wb") as image:
            image.truncate(SECTORS * 512)
    with LabHost(folder) as host:
        yield Replay(host, home)


@pytest.fixture
def replay(machine: Replay) -> Iterator[Replay]:
    """A host that has only dom0, whose store is as it was at first."""
    yield machine
    machine.host.end_domains()
    machine.host.wait_node("/local/domain/0/backend", None)


def compare(real: list[Entry], lab: list[Entry]) -> None:
    """Every writer's row, and the order of the states."""
    assert len(real) > 5
    assert states(lab) == states(real)
    assert by_writer(lab) == by_writer(real)


def test_create_to_connected(replay: Replay) -> None:
    replay.since()
    domid = replay.create()
    replay.connected(domid)
    compare(there("20-create-phy-vif", [1]), ours(replay.since(), [domid], replay.images))


def test_block_attach(replay: Replay) -> None:
    domid = replay.create()
    replay.connected(domid)
    replay.since()
    target = f"format=raw,vdev=xvdb,access=rw,target={replay.home}/d2.img"
    assert replay.host.xl("block-attach", "du1", target).exit == 0
    replay.connected(domid, 51728)
    compare(there("40-block-attach-phy", [1]), ours(replay.since(), [domid], replay.images))


def test_block_detach(replay: Replay) -> None:
    domid = replay.create()
    replay.connected(domid)
    target = f"format=raw,vdev=xvdb,access=rw,target={replay.home}/d2.img"
    assert replay.host.xl("block-attach", "du1", target).exit == 0
    replay.connected(domid, 51728)
    replay.since()
    assert replay.host.xl("block-detach", "du1", "xvdb").exit == 0
    compare(there("41-block-detach-phy", [1]), ours(replay.since(), [domid], replay.images))


def test_network_attach(replay: Replay) -> None:
    domid = replay.create()
    replay.connected(domid)
    replay.since()
    words = ("mac=00:16:3e:00:00:21", "bridge=xenbr0")
    assert replay.host.xl("network-attach", "du1", *words).exit == 0
    for path in (
        f"/local/domain/{domid}/device/vif/1/state",
        f"/local/domain/0/backend/vif/{domid}/1/state",
    ):
        replay.host.wait_node(path, "4")
    compare(there("42-network-attach", [1]), ours(replay.since(), [domid], replay.images))


def test_network_detach(replay: Replay) -> None:
    domid = replay.create()
    replay.connected(domid)
    words = ("mac=00:16:3e:00:00:21", "bridge=xenbr0")
    assert replay.host.xl("network-attach", "du1", *words).exit == 0
    replay.host.wait_node(f"/local/domain/0/backend/vif/{domid}/1/state", "4")
    replay.since()
    assert replay.host.xl("network-detach", "du1", "1").exit == 0
    compare(there("43-network-detach", [1]), ours(replay.since(), [domid], replay.images))


def test_pause_changes_nothing_in_the_store(replay: Replay) -> None:
    domid = replay.create()
    replay.connected(domid)
    replay.since()
    for verb in ("pause", "pause", "unpause", "unpause"):
        assert replay.host.xl(verb, "du1").exit == 0
    assert there("46-pause", [1]) == []
    assert ours(replay.since(), [domid], replay.images) == []


def end(replay: Replay, act: Callable[[int], None]) -> list[Entry]:
    """What the store saw of a domain's end."""
    domid = replay.create()
    replay.connected(domid)
    replay.since()
    act(domid)
    replay.gone()
    return ours(replay.since(), [domid], replay.images)


def test_shutdown(replay: Replay) -> None:
    def shut_down(_domid: int) -> None:
        assert replay.host.xl("shutdown", "-w", "du1").exit == 0

    compare(there("60-shutdown", [3]), end(replay, shut_down))


def test_destroy(replay: Replay) -> None:
    def destroy(_domid: int) -> None:
        assert replay.host.xl("destroy", "du1").exit == 0

    compare(there("61-destroy", [4]), end(replay, destroy))


def test_crash(replay: Replay) -> None:
    def crash(_domid: int) -> None:
        replay.host.fault("kill", "du1")

    compare(there("63-crash-destroy", [6]), end(replay, crash))


def test_reboot(replay: Replay) -> None:
    domid = replay.create()
    replay.connected(domid)
    replay.since()
    assert replay.host.xl("reboot", "du1").exit == 0
    replay.host.wait_node(f"/local/domain/{domid}", None)
    replay.connected(domid + 1)
    real = there("62-reboot", [5, 6])
    # The recorded guest had 160 MiB and one vCPU by then.
    sizes = re.compile(r"/(memory/(target|static-max)|cpu/\d/availability)$")
    found = ours(replay.since(), [domid, domid + 1], replay.images)
    compare(
        [entry for entry in real if not sizes.search(entry.path)],
        [entry for entry in found if not sizes.search(entry.path)],
    )


def test_what_stands_in_the_store_when_all_is_connected(replay: Replay) -> None:
    """Recording 21: every path with its value, owner and permissions."""
    domid = replay.create()
    replay.connected(domid)
    with replay.host.store() as store:

        def walk(path: str) -> Iterator[tuple[str, tuple[str, str]]]:
            for child in store.directory(path or "/"):
                below = f"{path}/{child}"
                perms = ",".join(store.get_perms(below))
                yield below, (store.read(below), perms)
                yield from walk(below)

        lab = dict(walk(""))

    def made_equal(nodes: Mapping[str, tuple[str, str]], names: Names, side: str) -> set[str]:
        found = []
        for path, (value, perms) in nodes.items():
            # A node of control/ is the toolstack's, whoever wrote to it last: it stands on both
            # sides.  Elsewhere the owner tells whose it is.
            guests = not perms.startswith("n0") and "/control/" not in path
            who = "domU" if guests else "XL"
            write = names.entry(Entry(who, "WRITE", path, value))
            allowed = names.entry(Entry(who, "SET_PERMS", path, perms.replace(",", " ")))
            found += [write, allowed]
        kept = [entry for entry in only(side, found) if not re.search(r"/queue-\d+$", entry.path)]
        return {f"{entry.verb} {entry.path} {entry.value}" for entry in kept}

    real = made_equal(listing("21-xenstore-ls-connected.txt"), Names([1], {}), "there")
    assert made_equal(lab, Names([domid], replay.images), "here") == real


def test_each_difference_is_still_one() -> None:
    """A difference of the real host that no recording shows any more must leave the table."""
    seen: list[Entry] = []
    for name, domids in (
        ("20-create-phy-vif", [1]),
        ("62-reboot", [5, 6]),
        ("61-destroy", [4]),
        ("40-block-attach-phy", [1]),
    ):
        names = Names(domids, {})
        for entry in mutations(trace(name, {"domU": domids[0]})):
            if entry.verb != "INTRODUCE":
                seen.append(Entry(entry.who, entry.verb, names.path(entry.path)))
    for difference in DIFFERENCES:
        if difference.where != "here":
            assert any(difference.covers(entry) for entry in seen), difference.why
