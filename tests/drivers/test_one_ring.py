"""A device class of one ring: both halves on the real hypervisor, honest and not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hvsim.domain import Mapping
from hvsim.domain.domain import Domain
from hvsim.domain.xenbus import driver
from hvsim.drivers.split.one_ring import RingBack, RingFront
from tests.drivers.netrig import NetRig
from tests.support.hv import Hypervisor


class Echo(NetRig):
    """A guest that asks, a backend that answers a request of four bytes with its eight.

    Attributes:
        answers: what the guest got, in order.
    """

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.answers: list[bytes] = []
        self.guest = self.domain()
        self.guest.frontends.register("echo", self.make_front)
        self.back = self.serving()

    def make_front(self) -> RingFront:
        self.front = RingFront(
            self.guest, 4, 8, connected=lambda: None, answered=self.answers.append
        )
        return self.front

    def serving(self) -> Domain:
        dom = self.domain()
        dom.backends.register("echo", lambda: RingBack(dom, 4, 8, lambda request: 2 * request))
        return dom

    @property
    def front_dir(self) -> str:
        return f"/local/domain/{self.guest.domid}/device/echo/0"

    def back_dir(self, back: Domain) -> str:
        return f"/local/domain/{back.domid}/backend/echo/{self.guest.domid}/0"

    def give(self, back: Domain) -> None:
        """The toolstack's part; also to move the device to another backend."""

        def body(tx: int) -> None:
            for path, keys in (
                (self.back_dir(back), {
                    "frontend": self.front_dir, "frontend-id": str(self.guest.domid),
                    "online": "1", "state": "1",
                }),
                (self.front_dir, {
                    "backend": self.back_dir(back), "backend-id": str(back.domid), "state": "1",
                }),
            ):  # fmt: skip
                for key, value in keys.items():
                    self.tool.write(f"{path}/{key}", value, tx)

        self.tool.transaction(body, "attach")

    def number(self, key: str) -> int:
        """What the frontend published."""
        return int(self.store.get(f"{self.front_dir}/{key}") or 0)

    def page(self) -> Mapping:
        """The ring, as the backend's domain may write into it."""
        return self.back.mapper.map(self.guest.domid, self.number("ring-ref"))

    def connected(self, back: Domain) -> None:
        self.give(back)
        self.run(
            lambda: self.state(self.front_dir) == self.state(self.back_dir(back)) == "4",
            "Connected",
        )


@pytest.fixture
def echo(hv: Hypervisor) -> Iterator[Echo]:
    rig = Echo(hv)
    yield rig
    rig.close()


def test_they_are_drivers(echo: Echo) -> None:
    assert isinstance(echo.make_front(), driver.Front)
    assert isinstance(RingBack(echo.back, 4, 8, bytes), driver.Back)


def test_more_is_asked_than_the_ring_holds(echo: Echo) -> None:
    """Red when what waits is not issued as answers come."""
    echo.connected(echo.back)
    asked = [number.to_bytes(4, "little") for number in range(1000)]
    for request in asked:
        echo.front.ask(request)
    echo.run(lambda: len(echo.answers) == 1000, "every answer")
    assert echo.answers == [2 * request for request in asked]
    assert echo.front.statistics() == {"unanswered": 0, "leftover_pages": 0}
    with pytest.raises(ValueError, match="3 bytes, not 4"):
        echo.front.ask(b"abc")


def test_the_next_backend_is_asked_again(echo: Echo) -> None:
    """Red when requests are forgotten with the ring, and when those on it are not asked again."""
    echo.connected(echo.back)
    asked = [number.to_bytes(4, "little") for number in range(500)]
    echo.live.remove(echo.back)
    for request in asked:
        echo.front.ask(request)
    echo.rest()
    assert len(echo.front.unanswered) == 500
    echo.live.append(echo.back)
    echo.kill(echo.back)
    echo.connected(echo.serving())
    echo.run(lambda: len(echo.answers) == 500, "the answers of the other backend")
    assert echo.answers == [2 * request for request in asked]
    echo.run(lambda: echo.front.statistics()["leftover_pages"] == 0, "the dead one's frames freed")


def test_an_orderly_end_leaves_nothing(echo: Echo) -> None:
    ports = echo.back.events.ports()
    echo.connected(echo.back)
    echo.front.ask(b"last")
    echo.run(lambda: bool(echo.answers), "the answer")
    echo.write(f"{echo.back_dir(echo.back)}/online", "0")
    echo.front.close()
    echo.run(lambda: echo.state(echo.front_dir) == "6", "the frontend Closed")
    echo.run(lambda: not echo.back.backends.devices, "the backend off the bus")
    assert echo.back.mapper.live_pages == 0
    assert echo.back.events.ports() == ports


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"ring-ref": "x", "event-channel": "1"}, "22 reading {front}/ring-ref and event-channel"),
        ({"ring-ref": "8"}, "22 reading {front}/ring-ref and event-channel"),
        ({"ring-ref": "4000", "event-channel": "1"}, "2 mapping ring-ref port 1"),
    ],
)
def test_a_ring_that_cannot_be_is_refused(echo: Echo, keys: dict[str, str], text: str) -> None:
    echo.guest = echo.domain()  # a stranger, with no driver of ours
    echo.give(echo.back)
    echo.run(lambda: echo.state(echo.back_dir(echo.back)) == "2", "InitWait")
    client = echo.store.connect(echo.guest.domid, "raw")
    for key, value in {**keys, "state": "3"}.items():
        client.write(f"{echo.front_dir}/{key}", value)
    echo.run(lambda: echo.state(echo.back_dir(echo.back)) == "5", "Closing")
    assert text.format(front=echo.front_dir) in echo.errors(echo.back)
    assert echo.back.mapper.live_pages == 0


def test_a_frontend_whose_index_cannot_be_costs_it_its_device(echo: Echo) -> None:
    echo.connected(echo.back)
    page = echo.page()
    page.view[0:4] = (5000).to_bytes(4, "little")
    echo.guest.events.notify(echo.number("event-channel"))
    echo.run(lambda: echo.state(echo.back_dir(echo.back)) in ("5", "6"), "given up")
    page.unmap()
    assert any("bogus ring requests" in line for line in echo.errors(echo.back))
    assert echo.back.mapper.live_pages == 0


def test_a_backend_whose_index_cannot_be_is_not_talked_to(echo: Echo) -> None:
    """Red when the answer of nobody's request is taken."""
    echo.connected(echo.back)
    echo.live.remove(echo.back)
    echo.front.ask(b"once")
    page = echo.page()
    page.view[8:12] = (5000).to_bytes(4, "little")
    echo.guest.vcpu.set_pending(echo.number("event-channel"))
    echo.live.append(echo.back)
    echo.run(lambda: echo.state(echo.front_dir) == "6", "closed in order")
    assert any("device disabled" in line for line in echo.errors(echo.guest))
    assert echo.answers == []
    page.unmap()
