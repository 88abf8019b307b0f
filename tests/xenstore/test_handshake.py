"""The handshake monitor on the store: what it flags, what it refuses, what it leaves alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hvsim.domain.xenbus.state import Half
from hvsim.xenstore.handshake import monitor as handshake
from hvsim.xenstore.handshake.device import MAX_RECORDS, Record
from hvsim.xenstore.handshake.hooks import Handshakes
from hvsim.xenstore.handshake.places import locate
from hvsim.xenstore.rules.store import Domain, Store
from tests.xenstore.peer import Peer

DRIVER, GUEST = 3, 5
FRONT = f"/local/domain/{GUEST}/device/vbd/51712"
BACK = f"/local/domain/{DRIVER}/backend/vbd/{GUEST}/51712"
DISK = f"{GUEST}/vbd/51712"


class House:
    """A store with a toolstack, dom0's kernel, a driver domain and a guest; a disk between them."""

    def __init__(self, strict: bool = False) -> None:
        self.store = Store()
        self.reports: list[str] = []
        self.now = 0.0
        hooks = Handshakes(
            self.store, lambda: self.now, strict, lambda domid, text: self.reports.append(text)
        )
        self.monitor = hooks.monitor
        for domid in (DRIVER, GUEST):
            self.store.domains[domid] = Domain(domid)
            self.store.known.add(domid)
        self.tools = self.tool("XL")
        self.kernel, self.driver, self.guest = (
            Peer(self.store, 0),
            Peer(self.store, DRIVER),
            Peer(self.store, GUEST),
        )
        self.tools.ask("WRITE", f"/local/domain/{GUEST}/name", "web")
        self.attach()

    def tool(self, label: str) -> Peer:
        """Another program of dom0."""
        peer = Peer(self.store, 0)
        peer.connection.session.name, peer.connection.session.label = "s1", label
        return peer

    def attach(self) -> None:
        """What libxl does, in one transaction."""
        tx = self.tools.begin()
        for path, owner, reader in ((FRONT, GUEST, DRIVER), (BACK, DRIVER, GUEST)):
            self.tools.ask("RM", path, tx=tx)
            self.tools.ask("MKDIR", path, tx=tx)
            self.tools.ask("SET_PERMS", path, f"n{owner}", f"r{reader}", tx=tx)
            self.tools.ask("WRITE", f"{path}/state", "1", tx=tx)
        assert self.tools.end(tx) == "OK"

    def state(self, peer: Peer, path: str, value: int | str) -> str:
        """Write a state as a kernel does: in a transaction that reads it first."""
        tx = peer.begin()
        peer.ask("READ", f"{path}/state", tx=tx)
        answer = peer.ask("WRITE", f"{path}/state", str(value), tx=tx)
        ended = peer.end(tx)
        return answer if answer != "OK" else ended

    def publish(self) -> None:
        """The frontend's ring and event channel."""
        assert self.guest.ask("WRITE", f"{FRONT}/ring-ref", "8") == "OK"
        assert self.guest.ask("WRITE", f"{FRONT}/event-channel", "3") == "OK"

    def flags(self, device: str = DISK) -> list[str]:
        """Every rule that was broken, in order."""
        return [breach["rule"] for record in self.records(device) for breach in record["breaches"]]

    def records(self, device: str = DISK) -> list[Record]:
        """What is kept of a device."""
        return list(self.monitor.devices[device].records)

    def connect(self) -> None:
        """The walk of blkfront and blkback."""
        assert self.state(self.driver, BACK, 2) == "OK"
        self.publish()
        assert self.state(self.guest, FRONT, 3) == "OK"
        self.driver.ask("WRITE", f"{BACK}/sectors", "2048")
        assert self.state(self.driver, BACK, 4) == "OK"
        assert self.state(self.guest, FRONT, 4) == "OK"


@pytest.mark.parametrize("strict", [False, True])
def test_what_real_drivers_do_passes(strict: bool) -> None:
    house = House(strict)
    house.connect()
    assert house.state(house.guest, FRONT, 4) == "OK"  # the same state twice
    # Detach: the toolstack takes it away, the guest skips 5, the backend says 5 once more.
    tx = house.tools.begin()
    house.tools.ask("WRITE", f"{BACK}/online", "0", tx=tx)
    assert house.tools.ask("WRITE", f"{BACK}/state", "5", tx=tx) == "OK"
    assert house.tools.end(tx) == "OK"
    assert house.state(house.guest, FRONT, 6) == "OK"
    assert house.state(house.driver, BACK, 5) == "OK"
    assert house.state(house.driver, BACK, 6) == "OK"
    house.attach()
    assert house.flags() == []
    assert house.reports == []


def test_windows_closes_before_it_connects() -> None:
    house = House(strict=True)
    for peer, path, states in (
        (house.driver, BACK, (2,)),
        (house.guest, FRONT, (5,)),
        (house.driver, BACK, (5,)),
        (house.guest, FRONT, (6,)),
        (house.driver, BACK, (6,)),
        (house.guest, FRONT, (1,)),
        (house.driver, BACK, (2,)),
    ):
        for state in states:
            assert house.state(peer, path, state) == "OK"
    house.publish()
    assert house.state(house.guest, FRONT, 3) == "OK"
    assert house.flags() == []


def test_connected_out_of_nothing_is_flagged() -> None:
    house = House()
    house.state(house.driver, BACK, 2)
    assert house.state(house.guest, FRONT, 4) == "OK"
    assert house.flags() == ["skips-initialised", "not-published"]
    assert house.guest.ask("READ", f"{FRONT}/state") == "4"
    assert [("domU5" in text, DISK in text) for text in house.reports] == [(True, True)] * 2


@pytest.mark.parametrize("inside", [False, True])
def test_connected_out_of_nothing_is_refused_in_strict_mode(inside: bool) -> None:
    house = House(strict=True)
    house.state(house.driver, BACK, 2)
    if inside:
        assert house.state(house.guest, FRONT, 4) == "EPERM"
    else:
        assert house.guest.ask("WRITE", f"{FRONT}/state", "4") == "EPERM"
    assert house.guest.ask("READ", f"{FRONT}/state") == "1"
    assert house.flags() == ["skips-initialised", "not-published"]
    assert house.records()[-1]["kind"] == "refused"
    assert "(refused)" in house.reports[0]
    house.publish()
    assert house.state(house.guest, FRONT, 3) == "OK"  # it may still do it properly


def test_a_ring_published_in_the_same_transaction_counts() -> None:
    house = House(strict=True)
    tx = house.guest.begin()
    house.guest.ask("WRITE", f"{FRONT}/queue-0/ring-ref", "8", tx=tx)
    house.guest.ask("WRITE", f"{FRONT}/queue-0/event-channel", "3", tx=tx)
    assert house.guest.ask("WRITE", f"{FRONT}/state", "3", tx=tx) == "OK"
    assert house.guest.end(tx) == "OK"
    assert house.flags() == []


def test_a_check_does_not_tie_the_transaction_to_the_other_half() -> None:
    house = House(strict=True)
    house.publish()
    house.state(house.guest, FRONT, 3)
    house.state(house.driver, BACK, 2)
    tx = house.driver.begin()
    assert house.driver.ask("WRITE", f"{BACK}/state", "4", tx=tx) == "OK"
    house.state(house.guest, FRONT, 3)
    assert house.driver.end(tx) == "OK"


@pytest.mark.parametrize(("state", "path"), [(3, FRONT), (4, BACK), (6, BACK)])
def test_a_state_of_somebody_else(state: int, path: str) -> None:
    for strict, answer in ((False, "OK"), (True, "EPERM")):
        house = House(strict)
        for peer in (house.tool("CLI"), house.kernel):
            assert house.state(peer, path, state) == answer
        assert house.flags() == ["wrong-side", "wrong-side"]


def test_a_toolstack_may_reset_and_close_but_a_kernel_may_not() -> None:
    house = House()
    assert house.state(house.tools, BACK, 5) == "OK"
    assert house.state(house.tools, FRONT, 1) == "OK"
    assert house.flags() == []
    assert house.state(house.kernel, BACK, 5) == "OK"
    assert house.flags() == ["wrong-side"]


def test_a_backend_does_not_connect_first() -> None:
    house = House()
    house.state(house.driver, BACK, 2)
    house.state(house.driver, BACK, 4)
    assert house.flags() == ["backend-first"]


def test_steps_that_are_none_and_states_that_are_none() -> None:
    house = House()
    house.connect()
    house.state(house.driver, BACK, 5)
    house.state(house.driver, BACK, 4)  # netback does so after an error: odd in a real host, too
    house.state(house.guest, FRONT, 9)
    house.state(house.guest, FRONT, "")
    assert house.flags() == ["illegal-step", "not-a-state", "not-a-state"]
    [step] = [
        one
        for record in house.records()
        for one in record["breaches"]
        if one["rule"] == "illegal-step"
    ]
    assert "from Closing (5) to Connected (4)" in step["what"]
    assert "Closed (6)" in step["what"]
    assert "xen/io/xenbus.h" in step["source"]


def test_a_key_that_is_read_too_early() -> None:
    house = House()
    assert house.driver.ask("READ", f"{FRONT}/ring-ref") == "ENOENT"
    assert house.guest.ask("READ", f"{BACK}/sectors") == "ENOENT"
    assert house.flags() == ["early-read", "early-read"]
    # A toolstack looks when it likes (`xl block-list`), and optional keys may be missing.
    assert house.tools.ask("READ", f"{FRONT}/ring-ref") == "ENOENT"
    assert house.guest.ask("READ", f"{BACK}/feature-persistent") == "ENOENT"
    house.connect()
    assert house.driver.ask("READ", f"{FRONT}/ring-ref0") == "ENOENT"
    assert house.flags() == ["early-read", "early-read"]


def test_a_vif_goes_from_1_to_4_with_its_rings_only() -> None:
    house = House()
    front = f"/local/domain/{GUEST}/device/vif/0"
    house.tools.ask("WRITE", f"{front}/state", "1")
    house.tools.ask("SET_PERMS", front, f"n{GUEST}")
    house.tools.ask("SET_PERMS", f"{front}/state", f"n{GUEST}")
    for key in ("tx-ring-ref", "event-channel"):
        assert house.guest.ask("WRITE", f"{front}/{key}", "9") == "OK"
    house.state(house.guest, front, 4)
    assert house.flags(f"{GUEST}/vif/0") == ["not-published"]
    house.state(house.guest, front, 6)
    house.state(house.guest, front, 1)
    house.guest.ask("WRITE", f"{front}/rx-ring-ref", "10")
    house.state(house.guest, front, 4)
    assert house.flags(f"{GUEST}/vif/0") == ["not-published"]


def test_who_wrote_what_and_when() -> None:
    house = House()
    house.now = 2.5
    house.publish()
    house.state(house.guest, FRONT, 3)
    keys, state = house.records()[-2:]
    assert (keys["kind"], keys["writer"], keys["domid"], keys["mono"]) == ("keys", "domU5", 5, 2.5)
    assert keys["keys"] == {"ring-ref": "8", "event-channel": "3"}  # one piece of news
    assert (state["old"], state["new"], state["half"]) == (1, 3, "frontend")
    assert house.monitor.devices[DISK].names == {"5": "web"}


def test_removals_are_seen_wherever_they_begin() -> None:
    house = House()
    house.connect()
    house.tools.ask("RM", f"/local/domain/{DRIVER}")
    assert [(r["kind"], r["half"]) for r in house.records()[-1:]] == [("removed", "backend")]
    tx = house.tools.begin()
    house.tools.ask("RM", f"/local/domain/{GUEST}/device", tx=tx)
    house.tools.end(tx)
    assert [(r["kind"], r["half"]) for r in house.records()[-1:]] == [("removed", "frontend")]
    assert house.monitor.devices[DISK].gone
    house.attach()
    assert house.flags() == []


def test_a_domain_that_vanishes_takes_its_halves_along() -> None:
    house = House()
    house.connect()
    house.store.update_domains({GUEST: False})
    last = house.records()[-1]
    assert (last["kind"], last["half"], last["writer"]) == ("removed", "backend", "xenstored")


def test_errors_of_a_half_are_part_of_its_history() -> None:
    house = House()
    house.tools.ask(
        "WRITE",
        f"/local/domain/{DRIVER}/error/backend/vbd/{GUEST}/51712/error",
        "3 mapping in shared page 99999",
    )
    last = house.records()[-1]
    assert (last["kind"], last["half"], last["text"]) == (
        "error",
        "backend",
        "3 mapping in shared page 99999",
    )


def test_a_monitor_laid_over_a_store_that_is_there_knows_its_states() -> None:
    house = House()
    house.connect()
    later = Handshakes(house.store, lambda: 0.0).monitor
    assert later.devices[DISK].states == {Half.FRONTEND: 4, Half.BACKEND: 4}
    house.state(house.driver, BACK, 3)
    assert [one["rule"] for one in later.devices[DISK].records[-1]["breaches"]] == ["illegal-step"]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    for _ in range(300):
        house.state(house.guest, FRONT, 4)
        house.state(house.guest, FRONT, 1)
    assert len(house.records()) == MAX_RECORDS
    assert len(house.reports) < 20
    for number in range(100):
        house.guest.ask("WRITE", f"{FRONT}/{'k' * 60}{number}", "v" * 900)
    biggest = max(len(json.dumps(record)) for record in house.records())
    assert biggest < 4000
    monkeypatch.setattr(handshake, "MAX_DEVICES", 3)
    for number in range(1, 9):
        house.tools.ask("WRITE", f"/local/domain/9/device/vbd/{number}/state", "1")
    assert len(house.monitor.devices) == 3


@pytest.mark.parametrize(
    "path",
    [
        b"/local/domain/5/data/x",
        b"/local/domain/5/device/vbd",
        b"/local/domain/5/device/vbd/x/state",
        b"/libxl/5/device/vbd/51712/state",
        b"/local/domain/0/backend/console/5/0/state",
        b"/local/domain/5/device/suspend/event-channel",
        b"/local/domain/5/console/state",
    ],
)
def test_paths_that_are_no_devices(path: bytes) -> None:
    assert locate(path) is None


def ask(house: House, *words: str) -> dict[str, Any]:
    answer = json.loads(house.tools.ask("CONTROL", "handshake", *words))
    assert isinstance(answer, dict)
    return answer


def test_control_gives_everything_in_pieces() -> None:
    house = House()
    for _ in range(60):
        house.state(house.guest, FRONT, 4)
        house.state(house.guest, FRONT, 1)
    for number in range(40):
        house.tools.ask("WRITE", f"/local/domain/9/device/vbd/{number}/state", "1")
    names: list[str] = []
    start: int | None = 0
    while start is not None:
        piece = ask(house, str(start))
        assert piece["mode"] == "record"
        names += [row["device"] for row in piece["devices"]]
        start = piece["next"]
    assert names == list(house.monitor.devices)
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        piece = ask(house, DISK, str(after))
        found += [record["seq"] for record in piece["records"]]
        after = piece["next"]
    assert found == [record["seq"] for record in house.records()]
    assert house.tools.ask("CONTROL", "handshake", "77/vbd/1") == "ENOENT"
    assert house.tools.ask("CONTROL", "handshake", DISK, "x") == "EINVAL"
    assert house.guest.ask("CONTROL", "handshake") == "EACCES"
