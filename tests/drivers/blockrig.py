"""A disk between domains that run in this process, turn by turn, on the real hypervisor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hvsim.domain.domain import Domain
from hvsim.drivers.block.back import BlockBack
from hvsim.drivers.block.disk import Disk
from hvsim.drivers.block.front import BlockFront
from hvsim.drivers.block.hotplug import script
from hvsim.drivers.block.request import Request
from tests.support.hv import Hypervisor, turn
from tests.support.ministore import MiniStore

VDEV = 51712


class Rig:
    """A guest with one disk, and the domains that serve it one after the other."""

    def __init__(self, hv: Hypervisor, image: Path) -> None:
        self.hv = hv
        self.image = image
        self.store = MiniStore()
        self.live: list[Domain] = []
        self.dead: list[Domain] = []
        self.guest = self.domain(4096)
        self.disks: dict[int, Disk] = {}

    def domain(self, pages: int = 1024, **args: Any) -> Domain:
        dom = self.hv.domain(pages)
        dom.use_store(self.store.connect(dom.domid, f"d{dom.domid}"))
        dom.args.update(args)
        self.live.append(dom)
        return dom

    @property
    def front_path(self) -> str:
        return f"/local/domain/{self.guest.domid}/device/vbd/{VDEV}"

    def back_path(self, back: Domain) -> str:
        return f"/local/domain/{back.domid}/backend/vbd/{self.guest.domid}/{VDEV}"

    def attach(self, back: Domain, **more: str) -> None:
        """What the toolstack writes, also to move the device to another backend."""

        def body(tx: int) -> None:
            for key, value in {
                "frontend": self.front_path,
                "frontend-id": str(self.guest.domid),
                "params": str(self.image),
                "mode": "w",
                "online": "1",
                "toolstack": "hvsim",
                "state": "1",
                **more,
            }.items():
                tool.write(f"{self.back_path(back)}/{key}", value, tx)
            for key, value in {
                "backend": self.back_path(back),
                "backend-id": str(back.domid),
                "virtual-device": str(VDEV),
                "state": "1",
            }.items():
                tool.write(f"{self.front_path}/{key}", value, tx)

        tool = self.store.connect(0, "XL")
        tool.transaction(body, "attach")

    def write(self, path: str, value: str) -> None:
        self.store.connect(0, "XL").write(path, value)

    def remove(self, path: str) -> None:
        self.store.connect(0, "XL").rm(path)

    def run(self, pred: Callable[[], bool], what: str) -> None:
        """Every domain in turn, until `pred` holds."""
        for _ in range(12000):
            self.store.settle()
            if pred():
                return
            turn(self.live, 0.0005)
        raise AssertionError(f"never: {what}; {self.disks.get(VDEV)!r}")

    def do(self, op: int, sector: int = 0, nr_sectors: int = 0, data: bytes = b"") -> Request:
        request = self.disk.submit(op, sector, nr_sectors, data=data)
        self.run(lambda: request.done, repr(request))
        return request

    @property
    def disk(self) -> Disk:
        return self.disks[VDEV]

    def state(self, path: str) -> str | None:
        return self.store.get(f"{path}/state")

    def start(self, back: Domain, **more: str) -> Disk:
        BlockBack.register(back, script(back))
        self.attach(back, **more)
        self.disks = BlockFront.register(self.guest)
        self.run(lambda: VDEV in self.disks and self.disk.connected, "connected")
        return self.disk

    def kill(self, back: Domain) -> None:
        """As if by SIGKILL: no driver code of it runs any more."""
        self.live.remove(back)
        self.dead.append(back)
        gone = [c for c in self.store.connections if c.domid == back.domid]
        for connection in gone:
            self.store.connections.remove(connection)
        self.hv.destroy(back)
        self.remove(f"/local/domain/{back.domid}")

    def bury(self) -> None:
        """What the kernel does for a killed process: its descriptors close."""
        for dom in self.dead:
            for driver in dom.backends.drivers.values():
                assert isinstance(driver, BlockBack)
                if driver.image is not None:
                    driver.image.close()
                if driver.connection is not None:
                    driver.connection.ring.release()


@pytest.fixture(name="rig")
def a_disk_and_its_domains(hv: Hypervisor, tmp_path: Path) -> Iterator[Rig]:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(2048 * 512))
    rig = Rig(hv, image)
    yield rig
    with contextlib.ExitStack() as stack:  # all of it, whatever fails
        stack.callback(rig.bury)
        for dom in reversed(rig.live):
            stack.callback(dom.stop_drivers)
