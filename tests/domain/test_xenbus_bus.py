"""Both buses over a store, with the handshakes of the recordings played through them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.domain.xenbus import driver
from tests.domain.xenbus_rig import Back, Front, Rig, connected


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.vcpu.close()


def test_drivers_fit_the_protocol(rig: Rig) -> None:
    assert isinstance(Front(rig), driver.Front)
    assert isinstance(Back(rig), driver.Back)


def test_hot_attach_walks_as_recorded(rig: Rig) -> None:
    """40: F reaches 3 before physical-device exists; B stays 2 until the script wrote it."""
    rig.start()
    rig.attach()
    assert rig.states() == ("3", "2")
    rig.hotplug()
    assert rig.states() == ("4", "4")
    assert rig.written() == ["XL 1", "XL 1", "KERN0 2", "domU 3", "KERN0 4", "domU 4"]
    assert rig.log == []


def test_devices_that_were_there_before_the_domain_are_found(rig: Rig) -> None:
    """20: the guest boots long after the toolstack wrote its devices."""
    rig.attach()
    rig.start()
    rig.hotplug()
    assert rig.states() == ("4", "4")


def test_the_kernels_requests_come_in_the_recorded_order(rig: Rig) -> None:
    """40, reads of a peer's directory included; what this test does not write is left out."""
    rig.start()
    rig.store.trace.clear()
    rig.attach()
    rig.hotplug()
    front, back = rig.paths()
    kern0 = [line[6:] for line in rig.store.trace if line.startswith("KERN0")]
    assert kern0 == [
        "READ backend/vbd/1/51712/state",
        "READ backend/vbd/1/51712/frontend-id",
        "READ backend/vbd/1/51712/frontend",
        f"DIRECTORY {front}",
        "WRITE backend/vbd/1/51712/max-ring-page-order 4",
        "WATCH backend/vbd/1/51712/physical-device",
        "READ backend/vbd/1/51712/state",
        "WRITE backend/vbd/1/51712/state 2",
        f"WATCH {front}/state",
        f"READ {front}/state",  # the watch fires at once; the guest was quick: 3
        "READ backend/vbd/1/51712/physical-device",  # not there yet
        f"READ {front}/state",  # the event of the guest's own write
        "READ backend/vbd/1/51712/physical-device",
        "READ backend/vbd/1/51712/physical-device",  # the script wrote it
        "WRITE backend/vbd/1/51712/sectors 131072",
        "READ backend/vbd/1/51712/state",
        "WRITE backend/vbd/1/51712/state 4",
        f"READ {front}/state",
    ]
    domu = [line[5:] for line in rig.store.trace if line.startswith("domU")]
    assert domu[:5] == [
        "READ device/vbd/51712/state",
        "READ device/vbd/51712/backend-id",
        "READ device/vbd/51712/backend",
        f"DIRECTORY {back}",
        f"WATCH {back}/state",
    ]


def test_detach_walks_as_recorded(rig: Rig) -> None:
    """41: online=0 and B=5 by xl; F=6 without 5; B=6; then the directories go."""
    connected(rig)
    front, back = rig.paths()

    def detach(tx: int) -> None:
        rig.xl.write(f"{back}/online", "0", tx)
        rig.xl.write(f"{back}/state", "5", tx)

    rig.xl.transaction(detach, "detach")
    rig.store.settle()
    assert rig.written() == ["XL 5", "domU 6", "KERN0 6"]
    assert rig.backs[0].calls[-1] == "removed"
    assert rig.backends.devices == {}
    assert list(rig.frontends.devices) == ["device/vbd/51712"]
    rig.xl.rm(front)
    rig.xl.rm(back)
    rig.store.settle()
    assert rig.frontends.devices == {}
    assert rig.fronts[0].calls[-1] == "removed"
    assert [w for c in rig.store.connections for w, _ in c.watches] == ["device", "backend"]
    assert rig.states() == (None, None)


def test_shutdown_walks_as_recorded(rig: Rig) -> None:
    """60: F=5, B=5, F=6, B=6; online stays 1 and so does the backend's device."""
    connected(rig)
    pump = rig.vcpu.call_later(0.0, rig.store.settle)
    assert rig.frontends.close_all(5.0) == []
    assert not pump.active
    rig.store.settle()
    assert rig.written() == ["domU 5", "KERN0 5", "domU 6", "KERN0 6"]
    assert list(rig.backends.devices) == ["backend/vbd/1/51712"]


def test_destroy_walks_as_recorded(rig: Rig) -> None:
    """61: the frontend's directory goes first, with online=0 and B=5 in the same transaction."""
    connected(rig)
    rig.frontends.store.close()  # the guest runs no more
    front, back = rig.paths()

    def destroy(tx: int) -> None:
        rig.xl.rm(front, tx)
        rig.xl.write(f"{back}/online", "0", tx)
        rig.xl.write(f"{back}/state", "5", tx)

    rig.xl.transaction(destroy, "destroy")
    rig.store.settle()
    assert rig.written() == ["XL 5", "KERN0 6"]
    assert rig.backends.devices == {}
    assert rig.backs[0].calls[-2:] == ["Unknown", "removed"]


def test_a_closing_that_nobody_answers_is_bounded_and_named(rig: Rig) -> None:
    connected(rig)
    rig.fronts[0].close_takes_part = False
    assert rig.frontends.close_all(0.01) == ["device/vbd/51712"]
    assert rig.log == ["device/vbd/51712: timeout closing device"]


def test_a_moved_backend_is_told_to_the_driver_and_connects_anew(rig: Rig) -> None:
    connected(rig)
    front = rig.paths()[0]
    rig.xl.rm(rig.paths()[1])
    rig.store.settle()
    assert rig.fronts[0].calls[-1] == "Unknown"

    def move(tx: int) -> None:
        new = "/local/domain/7/backend/vbd/1/51712"
        rig.xl.write(f"{new}/state", "2", tx)
        for key, value in {"backend": new, "backend-id": "7", "state": "1"}.items():
            rig.xl.write(f"{front}/{key}", value, tx)

    rig.xl.transaction(move, "move")
    rig.store.settle()
    device = rig.fronts[0].device
    assert device is not None
    assert (device.otherend_id, device.otherend) == (7, "/local/domain/7/backend/vbd/1/51712")
    assert rig.fronts[0].calls[-2:] == ["moved", "InitWait"]
    assert rig.states()[0] == "3"
    assert len(rig.fronts) == 1
    rig.xl.write("/local/domain/7/backend/vbd/1/51712/state", "4")
    rig.store.settle()
    assert rig.states()[0] == "4"


def test_a_move_to_a_backend_that_is_gone_again_waits_for_the_next(rig: Rig) -> None:
    """Backends may be killed faster than frontends look."""
    connected(rig)
    front = rig.paths()[0]
    rig.xl.write(f"{front}/backend", "/local/domain/7/backend/vbd/1/51712")
    rig.store.settle()
    assert rig.states()[0] == "4"
    assert "moved" not in rig.fronts[0].calls
    new = "/local/domain/8/backend/vbd/1/51712"
    rig.xl.write(f"{new}/state", "2")
    rig.xl.write(f"{front}/backend-id", "8")
    rig.xl.write(f"{front}/state", "1")
    rig.xl.write(f"{front}/backend", new)
    rig.store.settle()
    assert rig.fronts[0].calls[-2:] == ["moved", "InitWait"]
    assert rig.states()[0] == "3"


def test_a_device_made_again_before_we_looked_is_a_new_device(rig: Rig) -> None:
    connected(rig)
    for path in rig.paths():
        rig.xl.rm(path)
    rig.attach(settle=False)
    rig.store.settle()
    rig.hotplug()
    assert rig.states() == ("4", "4")
    assert [front.calls.count("removed") for front in rig.fronts] == [1, 0]
    assert [back.calls.count("removed") for back in rig.backs] == [1, 0]


def test_removing_the_whole_tree_removes_every_device(rig: Rig) -> None:
    connected(rig)
    rig.attach(51728)
    rig.xl.rm("/local/domain/1/device")
    rig.xl.rm("/local/domain/0/backend")
    rig.store.settle()
    assert not rig.frontends.devices
    assert not rig.backends.devices
    assert all(front.calls[-1] == "removed" for front in rig.fronts)
    assert all(back.calls[-1] == "removed" for back in rig.backs)


# ---- trouble ----
