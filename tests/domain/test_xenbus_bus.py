"""Both buses over a store, with the handshakes of the recordings played through them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus.bus import BackendBus, FrontendBus
from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice
from hvsim.domain.xenbus.driver import BackendDriver, FrontendDriver
from hvsim.domain.xenbus.state import (
    BackendReaction,
    FrontendReaction,
    backend_reaction,
    frontend_reaction,
)
from tests.support.ministore import MiniStore

XL_KEYS = ("backend", "backend-id", "state", "virtual-device")


class Front:
    """A frontend without a ring: what blkfront does in the store."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.device: FrontendDevice | None = None
        self.calls: list[str] = []
        self.close_takes_part = True
        rig.fronts.append(self)

    def probe(self, device: FrontendDevice) -> None:
        self.device = device
        self.calls.append("probe")
        if self.rig.front_fails:
            raise KeyError("virtual-device")

    def otherend_changed(self, state: XenbusState) -> None:
        device = self.device
        assert device is not None
        self.calls.append(state.name)
        match frontend_reaction(device.state, state):
            case FrontendReaction.PUBLISH:
                device.write_many({"ring-ref": 8, "event-channel": 15}, "publish the ring")
                device.switch_state(XenbusState.Initialised)
            case FrontendReaction.CONNECT:
                device.switch_state(XenbusState.Connected)
            case FrontendReaction.CLOSE if self.close_takes_part:
                device.switch_state(XenbusState.Closed)

    def backend_moved(self) -> None:
        self.calls.append("moved")

    def close(self) -> None:
        assert self.device is not None
        self.calls.append("close")
        self.device.switch_state(XenbusState.Closing)

    def removed(self) -> None:
        self.calls.append("removed")


class Back:
    """A backend without a ring: what blkback does in the store."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.device: BackendDevice | None = None
        self.calls: list[str] = []
        rig.backs.append(self)

    def probe(self, device: BackendDevice) -> None:
        self.device = device
        self.calls.append("probe")
        device.write("max-ring-page-order", 4)
        device.watch("physical-device", self.connect)
        device.switch_state(XenbusState.InitWait)

    def connect(self) -> None:
        device = self.device
        assert device is not None
        ready = device.otherend_state == XenbusState.Initialised
        if ready and device.read("physical-device") and device.state == XenbusState.InitWait:
            device.write_many({"sectors": 131072}, "publish the disk")
            device.switch_state(XenbusState.Connected)

    def otherend_changed(self, state: XenbusState) -> None:
        device = self.device
        assert device is not None
        self.calls.append(state.name)
        online = state != XenbusState.Closed or device.online()
        match backend_reaction(device.state, state, online):
            case BackendReaction.CONNECT:
                if self.rig.back_stumbles:
                    raise ValueError("bogus ring-ref")
                self.connect()
            case BackendReaction.CLOSING:
                device.switch_state(XenbusState.Closing)
            case BackendReaction.CLOSE:
                device.switch_state(XenbusState.Closed)
            case BackendReaction.CLOSE_AND_UNREGISTER:
                device.switch_state(XenbusState.Closed)
                device.unregister()
            case BackendReaction.UNREGISTER:
                device.unregister()
            case BackendReaction.REOPEN:
                device.switch_state(XenbusState.InitWait)

    def removed(self) -> None:
        self.calls.append("removed")


class Rig:
    """A store, a toolstack, dom0's kernel and the guest's, all in one process."""

    def __init__(self) -> None:
        self.store = MiniStore()
        self.vcpu = VCPU()
        self.log: list[str] = []
        self.fronts: list[Front] = []
        self.backs: list[Back] = []
        self.front_fails = self.back_stumbles = False
        self.xl = self.store.connect(0, "XL")
        self.frontends = FrontendBus(self.store.connect(1, "domU"), self.vcpu, self.log.append)
        self.backends = BackendBus(self.store.connect(0, "KERN0"), self.vcpu, self.log.append)

    def start(self) -> None:
        self.backends.register("vbd", lambda: Back(self))
        self.frontends.register("vbd", lambda: Front(self))
        self.backends.start()
        self.frontends.start()
        self.store.settle()

    def attach(self, vdev: int = 51712, backend: int = 0, settle: bool = True) -> None:
        front, back = self.paths(vdev, backend)

        def write(tx: int) -> None:
            self.xl.mkdir(front, tx)
            for key, value in zip(XL_KEYS, (back, backend, 1, vdev), strict=True):
                self.xl.write(f"{front}/{key}", str(value), tx)
            self.xl.mkdir(back, tx)
            for key, value in {
                "frontend": front,
                "frontend-id": 1,
                "online": 1,
                "state": 1,
            }.items():
                self.xl.write(f"{back}/{key}", str(value), tx)

        self.xl.transaction(write, "attach")
        if settle:
            self.store.settle()

    def hotplug(self, vdev: int = 51712) -> None:
        self.xl.write(f"{self.paths(vdev)[1]}/physical-device", "7:0")
        self.store.settle()

    @staticmethod
    def paths(vdev: int = 51712, backend: int = 0) -> tuple[str, str]:
        return (
            f"/local/domain/1/device/vbd/{vdev}",
            f"/local/domain/{backend}/backend/vbd/1/{vdev}",
        )

    def states(self, vdev: int = 51712) -> tuple[str | None, str | None]:
        front, back = self.paths(vdev)
        return self.store.get(f"{front}/state"), self.store.get(f"{back}/state")

    def written(self) -> list[str]:
        """States as they were written: "domU 3"."""
        return [
            f"{line.split()[0]} {line.split()[-1]}"
            for line in self.store.trace
            if " WRITE " in line and line.split()[2].endswith("/state")
        ]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.vcpu.close()


def connected(rig: Rig) -> Rig:
    rig.start()
    rig.attach()
    rig.hotplug()
    assert rig.states() == ("4", "4")
    rig.store.trace.clear()
    return rig


def test_drivers_fit_the_protocol(rig: Rig) -> None:
    assert isinstance(Front(rig), FrontendDriver)
    assert isinstance(Back(rig), BackendDriver)


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


def test_a_stumbling_driver_loses_its_device_only(rig: Rig) -> None:
    """77: error/<nodename>/error = "<n> text" below the own path, B=5."""
    connected(rig)
    rig.back_stumbles = True
    rig.attach(51728)
    assert rig.store.get("/local/domain/0/error/backend/vbd/1/51728/error") == (
        "22 ValueError: bogus ring-ref"
    )
    assert rig.states(51712) == ("4", "4")
    assert rig.states(51728)[1] in ("5", "6")
    assert rig.log[-1] == "vbd vbd-1-51728: 22 ValueError: bogus ring-ref"
    assert "Traceback" in rig.log[0], "a bug of ours is shown where it is"


def test_a_failed_probe_is_reported_and_closed(rig: Rig) -> None:
    rig.front_fails = True
    rig.start()
    rig.attach()
    assert rig.store.get("/local/domain/1/error/device/vbd/51712/error") == (
        "22 KeyError: 'virtual-device'"
    )
    assert rig.states()[0] == "6"
    assert rig.fronts[0].calls == ["probe", "removed"]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("frontend-id", "x", "22 backend/vbd/1/51712/frontend-id is 'x'"),
        ("frontend-id", "32752", "22 backend/vbd/1/51712/frontend-id is '32752'"),
        ("frontend", "relative", "22 backend/vbd/1/51712/frontend is 'relative'"),
        ("frontend", "/nowhere", "2 backend/vbd/1/51712: no frontend at /nowhere"),
    ],
)
def test_directories_that_make_no_sense(rig: Rig, key: str, value: str, text: str) -> None:
    rig.attach(settle=False)
    rig.xl.write(f"{rig.paths()[1]}/{key}", value)
    rig.start()
    assert rig.store.get("/local/domain/0/error/backend/vbd/1/51712/error") == text
    assert rig.states()[1] == "6"
    assert rig.backs == []


def test_a_frontend_refused_while_its_backend_was_away_gets_a_new_chance(rig: Rig) -> None:
    rig.attach(settle=False)
    rig.xl.rm(rig.paths()[1])
    rig.start()
    assert rig.states()[0] == "6"
    rig.attach()
    rig.hotplug()
    assert rig.states() == ("4", "4")


def test_an_illegal_move_is_refused_before_it_is_written(rig: Rig) -> None:
    connected(rig)
    device = rig.backs[0].device
    assert device is not None
    device.switch_state(XenbusState.Closed)
    with pytest.raises(ValueError, match="a backend may not go from Closed to Connected"):
        device.switch_state(XenbusState.Connected)
    assert rig.states()[1] == "6"


def test_a_state_is_not_written_into_a_directory_that_has_gone(rig: Rig) -> None:
    connected(rig)
    device = rig.fronts[0].device
    assert device is not None
    rig.xl.rm(rig.paths()[0])
    device.switch_state(XenbusState.Closing)
    assert rig.states()[0] is None
    assert device.state == XenbusState.Connected


def test_a_foreign_write_of_nonsense_is_a_fatal_error_of_the_backend_only(rig: Rig) -> None:
    connected(rig)
    rig.xl.write(f"{rig.paths()[0]}/state", "garbage")
    rig.store.settle()
    assert rig.backs[0].calls[-2:] == ["Unknown", "removed"]


def test_one_driver_for_a_type(rig: Rig) -> None:
    rig.start()
    with pytest.raises(ValueError, match="device/vbd has a driver"):
        rig.frontends.register("vbd", lambda: Front(rig))


def test_stop_releases_everything(rig: Rig) -> None:
    connected(rig)
    rig.frontends.stop()
    rig.backends.stop()
    assert [c.watches for c in rig.store.connections] == [[], [], []]
    assert rig.fronts[0].calls[-1] == rig.backs[0].calls[-1] == "removed"
    assert rig.states() == ("4", "4"), "nothing is written"
