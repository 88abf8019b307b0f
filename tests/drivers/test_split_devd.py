"""What a driver domain does with the directory of a backend that has ended.

Red without LINGER (the state is never read: libxl says "unable to remove device with path"), and
without the second look (what was made anew in the same place goes).
"""

from __future__ import annotations

import pytest

from hvsim.drivers.split import devd
from hvsim.xs.client import StoreClient
from tests.support.hv import Hypervisor, turn
from tests.support.ministore import MiniStore


class Rig:
    """A driver domain with a backend that the toolstack has told to close."""

    def __init__(self, hv: Hypervisor) -> None:
        self.store = MiniStore()
        self.back = hv.domain(64)
        self.back.use_store(self.store.connect(self.back.domid, "back"))
        self.clock = 0.0
        self.back.vcpu.clock = lambda: self.clock
        self.path = f"/local/domain/{self.back.domid}/backend/vbd/7/51712"
        self.libxl: StoreClient = self.store.connect(0, "libxl")
        devd.serve(self.back)

    def write(self, state: int, online: int) -> None:
        self.libxl.write(f"{self.path}/online", str(online))
        self.libxl.write(f"{self.path}/state", str(state))
        self.after(0.0)

    def after(self, seconds: float) -> str | None:
        """The state that stands in the store when *seconds* more have passed."""
        self.clock += seconds
        for _ in range(3):
            self.store.settle()
            turn([self.back], 0.0)
        return self.store.get(f"{self.path}/state")


@pytest.fixture
def rig(hv: Hypervisor) -> Rig:
    return Rig(hv)


def test_whoever_waits_for_closed_can_read_it(rig: Rig) -> None:
    rig.write(6, 0)
    assert rig.after(0.0) == "6"
    assert rig.after(devd.LINGER * 0.9) == "6"
    assert rig.after(devd.LINGER * 0.2) is None
    assert rig.store.get(rig.path.rsplit("/", 1)[0]) is not None, "it may remove nothing above it"


@pytest.mark.parametrize(("state", "online"), [(6, 1), (5, 0), (4, 1)])
def test_a_backend_that_is_wanted_or_closes_yet_stays(rig: Rig, state: int, online: int) -> None:
    rig.write(state, online)
    assert rig.after(devd.LINGER * 2) == str(state)


def test_what_is_made_anew_meanwhile_stays_and_goes_when_it_ends(rig: Rig) -> None:
    rig.write(6, 0)
    rig.libxl.rm(rig.path)
    rig.write(1, 1)
    assert rig.after(devd.LINGER * 2) == "1"
    rig.write(6, 0)
    assert rig.after(devd.LINGER * 2) is None
