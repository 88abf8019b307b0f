"""Both buses over a store in one process, with drivers that do what a disk's do in the store."""

from __future__ import annotations

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.vcpu import VCPU
from hvsim.domain.xenbus.backends import BackendBus
from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice
from hvsim.domain.xenbus.frontends import FrontendBus
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


def connected(rig: Rig) -> Rig:
    rig.start()
    rig.attach()
    rig.hotplug()
    assert rig.states() == ("4", "4")
    rig.store.trace.clear()
    return rig
