"""A hostile frontend of a vif: raw slots on its rings, beside an honest guest of the same backend.

After each attack (test_net_attacks_front_*.py, by the shapes of the published ones) the honest
guest is served both ways, and the backend has said what it refused: an error response, a drop
counted by its reason, or the device given up with an error node.

Where a docstring of a test says what turns it red, that was tried.  The others stand beside one
that was, or hold by several checks at once.
"""

from __future__ import annotations

from hvsim.domain.domain import Domain
from hvsim.drivers.net.back import NetBack
from tests.drivers.netrig import NetRig, Wire
from tests.drivers.rawnet import (
    DROPPED,
    ERROR,
    NULL,
    OKAY,
    RawFront,
    tx_request,
)
from tests.support.hv import Hypervisor

FRAME = bytes.fromhex("00163e000002 00163e000001 0800") + bytes(range(46))
REFUSED = (ERROR, DROPPED)


class Attacked(NetRig):
    """A backend, a villain and an honest guest.

    Attributes:
        back: the backend's domain.
        villain, honest: their guests; `raw` and `good` their frontends.
    """

    def __init__(self, hv: Hypervisor) -> None:
        super().__init__(hv)
        self.back = self.domain()
        NetBack.register(self.back, self.make_link)
        self.honest = self.domain()
        self.good = self.connect(self.honest)
        self.villain = self.domain()

    def make_link(self, vif: object) -> Wire:
        """What netport does: a port for a vif."""
        return self.wire(str(vif.name))  # type: ignore[attr-defined]

    def attached(self, guest: Domain) -> str:
        """The toolstack's part, until the backend waits; the backend's directory."""
        self.attach(self.back, guest)
        path = self.back_path(self.back, guest)
        self.run(lambda: self.state(path) == "2", "InitWait")
        if self.store.get(f"{path}/hotplug-status") != "connected":
            self.write(f"{path}/hotplug-status", "connected")
        return path

    def connect(
        self, guest: Domain, queues: int = 1, *, split: bool = False, **more: int
    ) -> RawFront:
        """An attached guest whose rings are taken."""
        path = self.attached(guest)
        front = RawFront(guest, self.back.domid, queues, split=split)
        self.closing.append(front.close)
        self.publish(guest, front.keys(**more), "4")
        self.run(lambda: self.state(path) == "4", "Connected")
        return front

    def enter(self, queues: int = 1, *, split: bool = False, **more: int) -> RawFront:
        """The villain connects, politely; *more* are further keys that it writes."""
        self.raw = self.connect(self.villain, queues, split=split, **more)
        return self.raw

    @property
    def wire_out(self) -> Wire:
        """The villain's port."""
        return self.wire_of(self.villain)

    @property
    def path(self) -> str:
        """The backend's directory of the villain's vif."""
        return self.back_path(self.back, self.villain)

    @property
    def driver(self) -> NetBack:
        """The backend's half of the villain's vif."""
        driver = self.back.backends.drivers[f"backend/vif/{self.villain.domid}/0"]
        assert isinstance(driver, NetBack)
        return driver

    def served(self) -> None:
        """The honest guest sends and receives, still."""
        wire = self.wire_of(self.honest)
        wire.receive()
        page = self.good.tx[0].prod % 32
        self.good.transmit(self.good.frame(FRAME, page=page))
        self.run(lambda: wire.frames() == [FRAME], "the honest guest's frame")
        self.good.received()
        self.good.post(4, first=32)
        self.rest(2)
        assert wire.send(FRAME[::-1])
        self.run(lambda: FRAME[::-1] in self.good.received(), "a frame for the honest guest")
        self.good.answers()

    def statuses(self, slots: list[bytes]) -> list[int]:
        """Transmit; the statuses of all the responses, one for each slot."""
        self.raw.transmit(slots)
        found: list[int] = []

        def done() -> bool:
            found.extend(status for _, status in self.raw.answers())
            return len(found) >= len(slots)

        self.run(done, f"{len(slots)} responses, {len(found)} came: {self.errors(self.back)}")
        return found

    def given_up(self) -> list[str]:
        """The device was closed; why."""
        self.run(lambda: self.state(self.path) in ("5", "6"), "the device given up")
        errors = self.errors(self.back)
        assert errors, "without a word"
        return errors

    def turned_down(self) -> list[str]:
        """The rings were not taken; why.  netback then calls itself Connected all the same, as the
        recorded one does (77), and no frame passes."""
        self.run(lambda: bool(self.errors(self.back)), "an error node")
        self.run(lambda: self.state(self.path) == "4", "the state after it")
        return self.errors(self.back)

    def refused_or_given_up(self, slots: list[bytes]) -> None:
        """Either every slot is answered with an error, or the whole device is given up; nothing
        comes out."""
        self.raw.transmit(slots)
        found: list[int] = []

        def done() -> bool:
            found.extend(status for _, status in self.raw.answers())
            return len(found) >= len(slots) or self.state(self.path) in ("5", "6")

        self.run(done, "a refusal")
        assert not [status for status in found if status not in (*REFUSED, NULL)]
        if len(found) < len(slots):
            assert self.errors(self.back)
        assert self.wire_out.frames() == []


def one(net: Attacked, size: int, offset: int = 0, flags: int = 0, ident: int = 1) -> bytes:
    """A request for the villain's first page, which holds a frame."""
    return tx_request(net.raw.fill(0, FRAME), offset, flags, ident, size)


def works(net: Attacked) -> None:
    """The villain's own device is not harmed by what was refused."""
    net.wire_out.receive()
    assert net.statuses(net.raw.frame(FRAME, page=9)) == [OKAY]
    assert net.wire_out.frames() == [FRAME]
