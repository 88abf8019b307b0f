"""A tap on the real hypervisor: the ring is granted to domain 0 alone, and goes when it is told to.

Red, each tried: a tap that grants to its peer; one that frees its extent at once while it is
mapped; one without the limit on pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hvsim.abi.xenbus import XenbusState
from hvsim.domain.domain import Domain
from hvsim.domain.mapper import GrantError
from hvsim.domain.xenbus.device import BackendDevice, FrontendDevice
from hvsim.drivers.capture.ring import CONS, CaptureReader, records, ring_refs
from hvsim.drivers.capture.tap import Tap
from tests.support.hv import Hypervisor
from tests.support.ministore import MiniStore


class Driver:
    """A half that does nothing but to have a tap."""

    def __init__(self, dom: Domain) -> None:
        self.dom = dom
        self.tap: Tap

    def probe(self, device: FrontendDevice | BackendDevice) -> None:
        self.tap = Tap(self.dom, device)

    def otherend_changed(self, state: XenbusState) -> None:
        pass

    def removed(self) -> None:
        self.tap.close()

    def backend_moved(self) -> None:
        pass

    def close(self) -> None:
        pass


class Rig:
    def __init__(self, hv: Hypervisor) -> None:
        self.hv = hv
        self.store = MiniStore()
        self.guest = hv.domain(1024)
        self.other = hv.domain(64)
        for dom in (self.guest, self.other):
            dom.use_store(self.store.connect(dom.domid, f"d{dom.domid}"))
        self.tool = self.store.connect(0, "XL")
        self.path = f"/local/domain/{self.guest.domid}/device/vif/0"
        back = f"/local/domain/{self.other.domid}/backend/vif/{self.guest.domid}/0"
        self.tool.write(f"{back}/state", "2")
        for key, value in {"backend": back, "backend-id": str(self.other.domid)}.items():
            self.tool.write(f"{self.path}/{key}", value)
        self.tool.write(f"{self.path}/state", "1")
        self.guest.frontends.register("vif", lambda: Driver(self.guest))
        self.store.settle()
        driver = self.guest.frontends.drivers["device/vif/0"]
        assert isinstance(driver, Driver)
        self.tap = driver.tap

    def ask(self, text: str) -> str:
        self.tool.write(f"{self.path}/capture", text)
        self.store.settle()
        return self.store.get(f"{self.path}/capture-ring") or ""

    def end(self) -> None:
        self.tool.rm(f"{self.path}/capture")
        self.store.settle()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Hypervisor(tmp_path) as hv:
        made = Rig(hv)
        yield made
        made.guest.frontends.stop()


def test_frames_reach_domain_0_and_nobody_else(rig: Rig) -> None:
    rig.tap.frame(b"before", sent=True)
    session, ref = rig.ask("7a 1000 4").split()
    assert session == "7a"
    assert rig.tap.on
    with pytest.raises(GrantError):
        rig.other.mapper.map(rig.guest.domid, int(ref))
    first = rig.hv.dom0.mapper.map(rig.guest.domid, int(ref))
    data = rig.hv.dom0.mapper.map_contiguous(rig.guest.domid, ring_refs(first.view))
    reader = CaptureReader(first.view, data.view)
    rig.tap.frame(b"one", b"v" * 10, sent=True, queue=2)
    rig.tap.frame(memoryview(b"two" * 1000), sent=False)
    one, two = records(reader.take())
    assert (one.data, one.sent, one.queue, one.vnet) == (b"one", True, 2, b"v" * 10)
    assert (two.data, two.length, two.sent) == ((b"two" * 334)[:1000], 3000, False)
    assert two.time_ns >= one.time_ns > 0

    rig.end()
    assert rig.tap.leftover_pages == 5, "domain 0 maps it still"
    reader.release()
    rig.hv.dom0.mapper.unmap_many([first, data])
    rig.guest.wait(lambda: rig.tap.leftover_pages == 0, 10.0, "the pages to be freed")


def test_a_thousand_captures_leave_nothing(rig: Rig) -> None:
    free = None
    for number in range(1000):
        assert rig.ask(f"{number} 64 2").startswith(f"{number} ")
        rig.end()
        taken = len(rig.guest.grants.taken), rig.tap.leftover_pages
        free = free or taken
        assert taken == free == (0, 0)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("1 64 3", "error a ring of 3 pages"),
        ("1 64 1024", "error a ring of 1024 pages"),
        ("1 0 4", "error a ring of 4 pages for 0 bytes"),
        ("1 64 512", "error no room for a ring of 512 pages"),
        ("1", "error the request makes no sense"),
        ("1 x y", "error the request makes no sense"),
        ("", "error the request makes no sense"),
        ("1 -5 4", "error the request makes no sense"),
    ],
)
def test_what_cannot_be_is_answered_in_words(rig: Rig, request_: str, why: str) -> None:
    if why.startswith("error no room"):
        rig.guest.memory.allocate(700)
    assert why in rig.ask(request_)
    assert not rig.tap.on
    assert rig.ask("2 64 4").split()[1].isdigit(), "the next one works"


def test_a_reader_that_breaks_the_ring_ends_the_capture_not_the_device(rig: Rig) -> None:
    _, ref = rig.ask("1 1000 1").split()
    first = rig.hv.dom0.mapper.map(rig.guest.domid, int(ref))
    words = first.view.cast("I")
    words[CONS] = 0x7777_7777
    words.release()
    rig.tap.frame(b"x", sent=True)
    assert not rig.tap.on
    assert rig.store.get(f"{rig.path}/state") == "1"
    first.unmap()
    rig.guest.wait(lambda: rig.tap.leftover_pages == 0, 10.0, "the pages to be freed")


def test_a_device_that_goes_takes_its_capture_along(rig: Rig) -> None:
    rig.ask("1 1000 1")
    rig.tool.rm(rig.path)
    rig.store.settle()
    assert not rig.tap.on
    assert len(rig.guest.grants.taken) == 0
